"""Services of products on this machine: one that speaks CDSE's search, token and download, one that speaks EUMETSAT's,
and a bucket that speaks S3. eodag's own files point its providers here."""

import base64
import datetime
import hashlib
import hmac
import http.server
import io
import json
import re
import time
import zipfile
from html import escape
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import yaml

from tests.helpers import WebServer

USER, PASSWORD = "somebody@example.org", "the-secret-password"
KEY, SECRET = "the-access-key", "the-secret-key"
FILES = ["S1_radiance_an.nc", "S7_BT_in.nc", "flags_in.nc", "geometry_tn.nc"]  # that a mask needs
OTHERS = ["S1_radiance_ao.nc", "met_tx.nc"]


def name(
    platform: str = "A", start: str = "20260615T101500", created: str = "20260616T151515", end: str = "O_NT_004"
) -> str:
    day, hour = start.split("T")
    return f"S3{platform}_SL_1_RBT____{start}_{day}T{int(hour) + 300:06d}_{created}_0179_026_179_2160_PS1_{end}.SEN3"


def _content(file: str) -> bytes:
    return b"\x89HDF\r\n\x1a\n" + np.random.Generator(np.random.PCG64(list(file.encode()))).bytes(120_000)


class Held:
    """A product as the services have it. What it holds and what its manifest says may differ on purpose."""

    def __init__(self, called: str, number: int):
        self.name, self.id = called, f"00000000-0000-0000-0000-{number:012d}"
        self.files = {file: _content(called + file) for file in [*FILES, *OTHERS]}
        self.footprint = "POLYGON((-10 45,5 45,5 60,-10 60,-10 45))"
        self.extra: dict[str, bytes] = {}  # in the archive, beside the product's folder
        self.seal()

    def seal(self) -> None:
        """Write the manifest anew, as real ones are (shortened)."""
        objects = "".join(
            f'<dataObject ID="d{number}"><byteStream mimeType="application/x-netcdf" size="{len(content)}">'
            f'<fileLocation locatorType="URL" href="{escape(file)}"/>'
            f'<checksum checksumName="MD5">{hashlib.md5(content).hexdigest()}</checksum></byteStream></dataObject>'
            for number, (file, content) in enumerate(self.files.items())
        )
        self.manifest = (
            '<?xml version="1.0" encoding="UTF-8"?><xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1">'
            f"<dataObjectSection>{objects}</dataObjectSection></xfdu:XFDU>"
        ).encode()

    def all_files(self) -> dict[str, bytes]:
        return {"xfdumanifest.xml": self.manifest, **self.files}

    def archive(self) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as packed:
            for file, content in self.all_files().items():
                packed.writestr(f"{self.name}/{file}", content)
            for file, content in self.extra.items():
                packed.writestr(file, content)
        return stream.getvalue()


class Services(WebServer):
    """All of them on one port. What is to go wrong is set by the attributes."""

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.tokens = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._settings(folder)
        self.reset()

    def reset(self) -> None:
        """As new, but for the tokens that it gave."""
        self.products: list[Held] = []
        self.requests: list[tuple[str, str]] = []  # method and path with its query
        self.refuse = False  # whether the tokens given so far are refused, before they expire
        self.answers: dict[str, list] = {}  # by a part of the path: what is answered first, once each
        self.break_after = 0  # bytes, once
        self.at_once = self.most_at_once = 0
        self.slow = 0.0  # seconds for a download
        self.nodes = True  # whether CDSE gives single files
        self.length = True  # whether downloads announce theirs
        self.moved = False  # whether downloads are redirected to another server
        self.elsewhere = False  # whether EUMETSAT's search lists addresses of another server
        self.authorized = 0  # requests that brought a token

    def add(self, called: str) -> Held:
        self.products.append(Held(called, len(self.products)))
        return self.products[-1]

    def _settings(self, folder: Path) -> None:
        """eodag's own file: where its providers are, and a user's credentials."""
        login = {
            "matching_url": self.url,
            "oidc_config_url": f"{self.url}/openid",
            "credentials": {"username": USER, "password": PASSWORD},
        }
        odata = f"{self.url}/odata/v1/Products"
        eumetsat = {
            "matching_url": self.url,
            "auth_uri": f"{self.url}/eumetsat/token",
            "credentials": {"username": USER, "password": PASSWORD},
        }
        store = {"s3_endpoint": self.url}
        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
        providers = {
            "cop_dataspace": {
                "priority": 5,
                "search": {
                    "api_endpoint": odata,
                    "metadata_mapping": {"eodag:download_link": f"{odata}({{uid}})/$value"},
                },
                "auth": login,
            },
            "eumetsat_ds": {"search": {"api_endpoint": f"{self.url}/eumetsat/search"}, "auth": eumetsat},
            "cop_dataspace_s3": {
                "search": {"api_endpoint": odata, **store},
                "download": store,
                "auth": {"matching_conf": store, **store, "credentials": keys},
            },
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "eodag.yml").write_text(yaml.safe_dump(providers))
        self.environment = {
            "EODAG_CFG_DIR": str(folder),
            "EODAG_CFG_FILE": str(folder / "eodag.yml"),
            "NO_PROXY": "127.0.0.1",
        }

    def search(self, query: dict) -> dict:
        products = [
            {
                "Id": each.id,
                "Name": each.name,
                "ContentType": "application/octet-stream",
                "ContentLength": sum(map(len, each.all_files().values())),
                "Online": True,
                "S3Path": f"/eodata/Sentinel-3/{each.name}",
                "Footprint": f"geography'SRID=4326;{each.footprint}'",
                "ContentDate": {"Start": "2026-06-15T10:15:00.000Z", "End": "2026-06-15T10:18:00.000Z"},
                "Attributes": [{"Name": "productType", "Value": "SL_1_RBT___"}],
                "Assets": [],
            }
            for each in self.products
        ]
        return {"value": products, "@odata.count": len(products)}

    def eumetsat(self, query: dict) -> dict:
        found = self.products if query["pi"] == ["EO:EUM:DAT:0411"] else []
        url = self.url.replace("127.0.0.1", "localhost") if self.elsewhere else self.url
        collection = f"{url}/eumetsat/download/collections/EO%3AEUM%3ADAT%3A0411/products"
        features = [
            {
                "type": "Feature",
                "id": each.name,
                "geometry": {"type": "Polygon", "coordinates": [[[-10, 45], [5, 45], [5, 60], [-10, 60], [-10, 45]]]},
                "properties": {
                    "identifier": each.name,
                    "title": each.name,
                    "parentIdentifier": "EO:EUM:DAT:0411",
                    "date": "2026-06-15T10:15:00Z/2026-06-15T10:18:00Z",
                    "updated": "2026-06-16T15:15:15Z",
                    "acquisitionInformation": [{"platform": {"platformShortName": "Sentinel-3A"}}],
                    "productInformation": {"size": 1, "productType": "SL_1_RBT___"},
                    "links": {
                        "previews": [],
                        "data": [{"title": "Product download", "href": f"{collection}/{each.name}"}],
                        "sip-entries": [
                            {
                                "title": file,
                                "href": f"{collection}/{each.name}/entry?name={each.name}/{file}",
                                "mediaType": "application/x-netcdf",
                            }
                            for file in each.all_files()
                        ],
                    },
                },
            }
            for each in found
        ]
        return {"type": "FeatureCollection", "totalResults": len(features), "features": features}

    def token(self, form: dict) -> dict:
        """A signed one, as Keycloak gives it."""
        import jwt

        self.refuse = False
        self.tokens += 1
        expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=600)
        content = {"exp": expires, "aud": "CLOUDFERRO_PUBLIC", "jti": f"token-{self.tokens}"}
        token = jwt.encode(content, _key(), algorithm="RS256", headers={"kid": "k"})
        refresh = f"refresh-{self.tokens}"
        return {"access_token": token, "expires_in": 600, "refresh_token": refresh, "refresh_expires_in": 3600}

    def keys(self) -> dict:
        numbers = _key().public_key().public_numbers()

        def text(number: int) -> str:
            packed = number.to_bytes((number.bit_length() + 7) // 8, "big")
            return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

        key = {"kty": "RSA", "kid": "k", "use": "sig", "alg": "RS256", "n": text(numbers.n), "e": text(numbers.e)}
        return {"keys": [key]}

    def openid(self) -> dict:
        return {
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint": f"{self.url}/token",
            "authorization_endpoint": f"{self.url}/authorize",
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def listing(self, query: dict) -> str:
        """A bucket's, as S3 gives it."""
        prefix = query.get("prefix", [""])[0]
        keys = {
            f"Sentinel-3/{each.name}/{file}": content
            for each in self.products
            for file, content in each.all_files().items()
        }
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size>"
            "<LastModified>2026-06-16T15:15:15.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            for key, content in keys.items()
            if key.startswith(prefix)
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>eodata</Name><Prefix>{escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>{entries}"
            "</ListBucketResult>"
        )


def _key():
    from cryptography.hazmat.primitives.asymmetric import rsa

    if not hasattr(_key, "made"):
        _key.made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return _key.made


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments) -> None:
        pass

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        path = urlsplit(self.path).path
        self.server.requests.append(("POST", self.path))
        if self._scripted():
            return
        if path == "/token" and form.get("password", [PASSWORD]) != [PASSWORD]:
            return self.send(b'{"error": "invalid_grant"}', 401)
        if path in ("/token", "/eumetsat/token"):
            return self.send(json.dumps(self.server.token(form)).encode())
        self.send(b"", 404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        services, parts = self.server, urlsplit(self.path)
        path, query = unquote(parts.path), parse_qs(parts.query)
        services.requests.append((self.command, self.path))
        if self._scripted():
            return
        fixed = {"/openid": services.openid, "/keys": services.keys}
        if path in fixed:
            self.send(json.dumps(fixed[path]()).encode())
        elif path == "/odata/v1/Products":
            self.send(json.dumps(services.search(query)).encode())
        elif path == "/eumetsat/search":
            self.send(json.dumps(services.eumetsat(query)).encode())
        elif path in ("/eodata", "/eodata/"):
            self.send(services.listing(query).encode(), 200 if self._is_signed() else 403)
        else:
            self.download(path, query)

    def download(self, path: str, query: dict) -> None:
        content, needs_token = self._content(path, query), not path.startswith("/eodata/")
        token = query.get("token", [self.headers.get("Authorization", "")])[0]
        self.server.authorized += bool(token)
        if content is None:
            return self.send(b"", 404)
        if self.server.moved and "localhost" not in self.headers["Host"]:
            place = self.server.url.replace("127.0.0.1", "localhost") + self.path
            return self.send(b"", 301, headers={"Location": place})
        if needs_token and (not token or self.server.refuse):
            return self.send(b'{"detail": "Expired signature!"}', 401)
        if not needs_token and not self._is_signed():
            return self.send(b"", 403)
        self.server.at_once += 1
        self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        time.sleep(self.server.slow)
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        self.send(content, 206 if start else 200, start)
        self.server.at_once -= 1

    def _is_signed(self) -> bool:
        """Whether the request has Amazon's signature, version 4, by the key of the store."""
        match = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=(\S+?)/(\S+), SignedHeaders=(\S+), Signature=(\w+)",
            self.headers.get("Authorization", ""),
        )
        if match is None or match[1] != KEY:
            return False
        parts, headers = urlsplit(self.path), match[3].split(";")
        query = "&".join(sorted(parts.query.split("&")))
        lines = [self.command, parts.path, query, *(f"{each}:{self.headers[each].strip()}" for each in headers)]
        canonical = "\n".join([*lines, "", match[3], self.headers["X-Amz-Content-SHA256"]])
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", self.headers["X-Amz-Date"], match[2], digest])
        key = f"AWS4{SECRET}".encode()
        for part in match[2].split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.new(key, text.encode(), "sha256").hexdigest() == match[4]

    def _content(self, path: str, query: dict):
        for each in self.server.products:
            node = re.fullmatch(rf"/odata/v1/Products\({each.id}\)/Nodes\({each.name}\)/Nodes\((.*)\)/\$value", path)
            if node and self.server.nodes:
                return each.all_files().get(node[1])
            if path == f"/odata/v1/Products({each.id})/$value" or path.endswith(f"/products/{each.name}"):
                return each.archive()
            if path.endswith(f"/products/{each.name}/entry"):
                return each.all_files().get(query["name"][0].removeprefix(f"{each.name}/"))
            if path.startswith(f"/eodata/Sentinel-3/{each.name}/"):
                return each.all_files().get(path.rsplit("/", 1)[1])
        return None

    def _scripted(self) -> bool:
        """Answer as a test has set it."""
        for part, answers in self.server.answers.items():
            if part in unquote(self.path) and answers:
                code, headers = answers.pop(0)
                self.send(b"", code, headers=headers)
                return True
        return False

    def send(self, content: bytes, code: int = 200, start: int = 0, headers: dict = {}) -> None:  # noqa: B006
        self.send_response(code)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for key, value in headers.items():
            self.send_header(key, value)
        chunked = not self.server.length and code in (200, 206) and len(content) > 100_000
        if chunked:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.break_after and len(content) > 100_000:
            content, self.server.break_after = content[: start + self.server.break_after], 0
            self.close_connection = True
        self.wfile.write(content[start:])


def secrets_in(text: str) -> list[str]:
    """Which of the secrets, and of the tokens that were made of them, a text shows."""
    found = [secret for secret in (PASSWORD, SECRET) if secret in text]
    return found + re.findall(r"eyJ[\w-]+|refresh-\d+|Signature=\w+", text)
