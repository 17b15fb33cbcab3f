// The charts of the page: each section holds its data as JSON, uPlot draws. Drag zooms, a double click resets.
"use strict";
(() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const name = (run) => (run < 0 ? "--muted" : `--c${run % 12}`); // a run's colour; -1 is no run, such as an ideal
  const short = (value) => Number(value.toPrecision(5));
  const text = (value) => (value && Math.abs(value) < 0.001 ? short(value).toExponential() : String(short(value)));
  const make = (tag, parent, className = "") => {
    const element = parent.appendChild(document.createElement(tag));
    element.className = className;
    return element;
  };

  // Round numbers between two, about so many; epochs and updates are whole.
  function evenTicks(low, high, count, whole = false) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const round = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const step = whole ? Math.max(round, 1) : round;
    const ticks = [];
    const first = Math.ceil(low / step);
    // Counted, not run until `high`: beyond 2^53, which a log may hold, adding 1 changes nothing.
    for (let n = 0; n <= 2 * count; n++) ticks.push(Number(((first + n) * step).toPrecision(12)));
    return ticks.filter((tick) => tick <= high);
  }

  // 1, 2 and 5 of each power of ten, or fewer; where that is no more than one number, even steps.
  function logTicks(low, high) {
    const ticks = [];
    const factors = high / low > 2000 ? [1] : [1, 2, 5];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const factor of factors) ticks.push(Number(`${factor}e${power}`));
    const inside = ticks.filter((tick) => low <= tick && tick <= high);
    return inside.length > 1 ? inside : evenTicks(low, high, 4);
  }

  // A little room around the points; from 0 where all are the same, or the axis would magnify nothing.
  function room(low, high, logarithmic) {
    if (logarithmic) {
      const factor = Math.max((high / low) ** 0.05, 1.03);
      return [low / factor, high * factor];
    }
    if (low === high) return [Math.min(0, 1.25 * low), Math.max(0, 1.25 * high) || 1];
    const margin = (high - low) * 0.05;
    return [low - margin, high + margin];
  }

  // Room for the longest number of the y axis, which may be 1.2345e-7; uPlot asks again with the numbers it will write.
  function numbersWidth(u, numbers, index) {
    if (!numbers) return 58; // before there are any
    const { font, ticks, gap } = u.axes[index];
    u.ctx.font = Array.isArray(font) ? font[0] : font;
    const widths = numbers.map((number) => u.ctx.measureText(number).width / devicePixelRatio);
    return Math.ceil(Math.max(30, ...widths) + ticks.size + gap + 4);
  }

  function axis(label, logarithmic, ticks, size, whole) {
    const splits = (u, number, low, high) =>
      ticks.length ? ticks.filter((tick) => low <= tick && tick <= high)
        : logarithmic ? logTicks(low, high) : evenTicks(low, high, u.width < 420 ? 4 : 6, whole);
    return {
      label, size, labelSize: 20, splits,
      filter: (u, found) => found, // uPlot's own leaves out most of a logarithmic axis
      values: (u, found) => found.map(text),
      stroke: () => css("--muted"),
      font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif",
      grid: { stroke: () => css("--line"), width: 1 },
      ticks: { stroke: () => css("--line"), width: 1, size: 5 },
    };
  }

  function drawTargets(u, targets) {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = css("--target");
    ctx.lineWidth = 1.5 * ratio;
    ctx.font = `${12 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    for (const target of targets) {
      const y = u.valToPos(target, "y", true);
      if (y < bbox.top || y > bbox.top + bbox.height) continue;
      ctx.setLineDash([6 * ratio, 4 * ratio]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.fillText(`target ${text(target)}`, bbox.left + 6 * ratio, y - 2 * ratio);
    }
    ctx.restore();
  }

  // The point nearest to the cursor, of the curves that are shown: {curve, x, y, left, top}.
  function nearest(u, curves) {
    let best = { distance: 45 };
    curves.forEach((curve, number) => {
      if (!u.series[number + 1].show) return;
      curve.x.forEach((x, index) => {
        const left = u.valToPos(x, "x");
        const top = u.valToPos(curve.y[index], "y");
        const distance = Math.hypot(left - u.cursor.left, top - u.cursor.top);
        const inside = left >= 0 && left <= u.over.clientWidth && top >= 0 && top <= u.over.clientHeight;
        if (inside && distance < best.distance) best = { distance, curve, x, y: curve.y[index], left, top };
      });
    });
    return best.curve ? best : null;
  }

  function hover(u, chart) {
    const tip = make("div", u.over, "tip");
    const dot = make("div", u.over, "dot");
    return () => {
      const point = u.cursor.left >= 0 ? nearest(u, chart.curves) : null;
      tip.hidden = dot.hidden = !point;
      if (!point) return;
      tip.textContent = `${point.curve.name}\n${chart.x} ${text(point.x)}: ${text(point.y)}`;
      for (const element of [tip, dot]) element.style.setProperty("--run", `var(${name(point.curve.run)})`);
      dot.style.left = `${point.left}px`;
      dot.style.top = `${point.top}px`;
      const width = u.over.clientWidth;
      tip.style.left = point.left < width / 2 ? `${point.left + 12}px` : "auto";
      tip.style.right = point.left < width / 2 ? "auto" : `${width - point.left + 12}px`;
      tip.style.top = `${Math.max(0, Math.min(point.top - 10, u.over.clientHeight - 50))}px`;
    };
  }

  function options(chart, width) {
    const scale = (logarithmic, also) => ({
      time: false, distr: logarithmic ? 3 : 1,
      range: (u, low, high) => (low == null ? [1, 10] : room(Math.min(low, ...also), Math.max(high, ...also), logarithmic)),
    });
    let show = () => {};
    return {
      width, height: 270, legend: { show: false },
      scales: { x: scale(chart.xlog, []), y: scale(chart.ylog, chart.targets) },
      axes: [axis(chart.x, chart.xlog, chart.ticks, 34, true), { ...axis("", chart.ylog, [], numbersWidth, false), label: null }],
      cursor: { points: { show: false }, drag: { x: true, y: true, uni: 30 } },
      series: [{}, ...chart.curves.map((curve) => ({
        stroke: () => css(name(curve.run)), width: 1.8, spanGaps: true, dash: curve.dashed ? [7, 4] : [],
        points: { show: curve.x.length <= 40, size: curve.x.length > 1 ? 5 : 9, fill: () => css(name(curve.run)) },
      }))],
      hooks: {
        ready: [(u) => { show = hover(u, chart); show(); }],
        setCursor: [() => show()],
        drawAxes: [(u) => drawTargets(u, chart.targets)],
      },
    };
  }

  function draw(chart, box) {
    const panel = make("div", box, "chart");
    make("h3", panel).textContent = chart.title;
    const data = uPlot.join(chart.curves.map((curve) => [curve.x, curve.y]));
    const plot = new uPlot(options(chart, panel.clientWidth), data, panel);
    new ResizeObserver(() => plot.setSize({ width: panel.clientWidth, height: 270 })).observe(panel);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw(false, true));
    return { chart, plot };
  }

  // A button a run: pressed, its curves are shown in all charts of the section.
  function legend(runs, plots, box) {
    runs.forEach((label, run) => {
      const button = make("button", box);
      button.type = "button";
      button.textContent = label;
      button.style.setProperty("--run", `var(${name(run)})`);
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") === "false";
        button.setAttribute("aria-pressed", String(shown));
        for (const { chart, plot } of plots)
          chart.curves.forEach((curve, number) => curve.run === run && plot.setSeries(number + 1, { show: shown }));
      });
    });
  }

  for (const source of document.querySelectorAll("script.data")) {
    const data = JSON.parse(source.textContent);
    const section = source.parentElement;
    const plots = data.charts.map((chart) => draw(chart, section.querySelector(".charts")));
    legend(data.runs, plots, section.querySelector(".legend"));
  }
})();
