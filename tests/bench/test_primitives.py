"""oneDNN's lines are read right."""

import pytest

from tests.bench import primitives

CONVOLUTION = (
    "onednn_verbose,exec,cpu,convolution,brgconv:avx512_core_bf16,forward_training,src_bf16::blocked:acdb::f0 "
    "wei_bf16:a:blocked:AcdB32a2b::f0 bia_undef::undef::: dst_bf16::blocked:acdb::f0,attr-scratchpad:user ,"
    "alg:convolution_direct,mb1_ic16oc32_ih770oh384kh3sh2dh0ph0_iw1154ow576kw3sw2dw0pw0,"
)
PRODUCT = (
    "onednn_verbose,exec,cpu,matmul,brg:avx512_core_bf16,undef,src_bf16::blocked:ab::f0 wei_bf16::blocked:ab::f0 "
    "dst_f32::blocked:ab::f0,attr-scratchpad:user ,,4096x4096:4096x4096,416.765"
)


def test_equal_primitives_are_added_up_and_other_lines_passed_over():
    info = "onednn_verbose,info,prim_template:operation,engine,primitive,implementation,exec_time"
    found = primitives.executed([info, CONVOLUTION + "25.75", "> 3.5", PRODUCT, CONVOLUTION + "24"])
    convolution, product = found
    assert found == {convolution: [25.75, 24.0], product: [416.765]}
    assert convolution == (
        "convolution, forward_training",
        "brgconv:avx512_core_bf16",
        "bf16 bf16 bf16",
        "mb1_ic16oc32_ih770oh384kh3sh2dh0ph0_iw1154ow576kw3sw2dw0pw0",
    )
    assert product == ("matmul", "brg:avx512_core_bf16", "bf16 bf16 f32", "4096x4096:4096x4096")


@pytest.mark.slow
def test_a_step_s_primitives_fit_into_its_time():
    seconds, found = primitives.measured("cloudmask", "step", "float32")
    in_primitives = sum(map(sum, found.values())) / primitives.UNITS / 1e3
    assert 0.3 * seconds < in_primitives < 2.5 * seconds  # two at once on two cores, at most
    assert any(primitive.kind == "convolution, backward_weights" for primitive in found)
