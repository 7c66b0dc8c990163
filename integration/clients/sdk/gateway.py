"""A gRPC gateway to the emulator, for the SDKs, which do not use REST.

It makes no decisions of its own:

* IamTokenService.Create is forwarded to the emulator's REST API. The response or error is translated to gRPC.
* ApiEndpointService.List returns the address of this gateway for every service.
* CloudService.List logs the token of the caller.

Usage: gateway.py EMULATOR_URL CERTIFICATE KEY. Prints `port N`, then a line of JSON for each call.
"""

import concurrent.futures
import json
import sys
import urllib.error
import urllib.request

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from yandex.cloud.endpoint import api_endpoint_pb2, api_endpoint_service_pb2, api_endpoint_service_pb2_grpc
from yandex.cloud.iam.v1 import iam_token_service_pb2, iam_token_service_pb2_grpc
from yandex.cloud.resourcemanager.v1 import cloud_pb2, cloud_service_pb2, cloud_service_pb2_grpc

emulator, certificate, key = sys.argv[1:]
# Without a proxy, because the emulator is on this machine.
rest = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def log(**line):
    print(json.dumps(line), flush=True)


class Tokens(iam_token_service_pb2_grpc.IamTokenServiceServicer):
    def Create(self, request, context):
        names = {"jwt": "jwt", "yandex_passport_oauth_token": "yandexPassportOauthToken"}
        field = request.WhichOneof("identity")
        body = json.dumps({names[field]: getattr(request, field)}).encode()
        headers = {"Content-Type": "application/json"}
        try:
            response = json.load(rest.open(urllib.request.Request(f"{emulator}/iam/v1/tokens", body, headers), timeout=20))
        except urllib.error.HTTPError as error:
            status = json.load(error)
            log(call="create", refused=status["message"])
            code = next(code for code in grpc.StatusCode if code.value[0] == status["code"])
            context.abort(code, status["message"])
        expires = Timestamp()
        expires.FromJsonString(response["expiresAt"])
        log(call="create")
        return iam_token_service_pb2.CreateIamTokenResponse(iam_token=response["iamToken"], expires_at=expires)


class Endpoints(api_endpoint_service_pb2_grpc.ApiEndpointServiceServicer):
    def List(self, request, context):
        ids = ["endpoint", "iam", "resource-manager"]
        endpoints = [api_endpoint_pb2.ApiEndpoint(id=id, address=f"localhost:{port}") for id in ids]
        return api_endpoint_service_pb2.ListApiEndpointsResponse(endpoints=endpoints)


class Clouds(cloud_service_pb2_grpc.CloudServiceServicer):
    def List(self, request, context):
        authorization = dict(context.invocation_metadata()).get("authorization")
        log(call="clouds", authorization=authorization)
        return cloud_service_pb2.ListCloudsResponse(clouds=[cloud_pb2.Cloud(id="b1g0", name="a-cloud-of-ones-own")])


def read(path):
    with open(path, "rb") as file:
        return file.read()


server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
iam_token_service_pb2_grpc.add_IamTokenServiceServicer_to_server(Tokens(), server)
api_endpoint_service_pb2_grpc.add_ApiEndpointServiceServicer_to_server(Endpoints(), server)
cloud_service_pb2_grpc.add_CloudServiceServicer_to_server(Clouds(), server)
credentials = grpc.ssl_server_credentials([(read(key), read(certificate))])
port = server.add_secure_port("127.0.0.1:0", credentials)
server.start()
print(f"port {port}", flush=True)
# The test kills this process. The limit is longer than any test.
server.wait_for_termination(300)
