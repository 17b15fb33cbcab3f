"""Objects of an S3 store over HTTP, so that they are resumed and limited as all other files are.

The stores of the Copernicus Data Space Ecosystem and of CREODIAS do not take addresses that are signed, as eodag's
settings for them say: so each request is signed in its headers, as boto3 does it.
"""

from typing import Any

from requests import PreparedRequest
from requests.auth import AuthBase

_REGION = "us-east-1"  # what boto3 signs for where a store has none


class Store:
    """One with its credentials, as eodag's plugin has them."""

    def __init__(self, plugin: Any):
        self._client = plugin.authenticate().meta.client
        self._credentials = plugin.s3_session.get_credentials()

    def request(self, bucket: str, key: str) -> tuple[str, AuthBase]:
        """The address of an object, without a signature, and what signs a request for it."""
        url = self._client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})
        region = self._client.meta.region_name
        return url.split("?")[0], _Headers(self._credentials, region if region and "global" not in region else _REGION)


class _Headers(AuthBase):
    """Amazon's signature, version 4."""

    def __init__(self, credentials: Any, region: str):
        self._credentials, self._region = credentials, region

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest

        if self._credentials is not None:  # a store for everybody
            signed = AWSRequest(method=request.method, url=request.url)
            S3SigV4Auth(self._credentials, "s3", self._region).add_auth(signed)
            request.headers.update(dict(signed.headers.items()))
        return request
