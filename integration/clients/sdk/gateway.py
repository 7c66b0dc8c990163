"""A gRPC door to the emulator, for the cloud's own SDKs, which speak no REST.

It decides nothing: IamTokenService.Create is sent on to the emulator's REST as it came, and an answer or refusal comes back
in gRPC's terms. ApiEndpointService.List names this door for every service, and CloudService.List writes down who asked.

Usage: gateway.py EMULATOR_URL CERTIFICATE KEY. Says `port N`, then a line of JSON for each call.
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
# Never by a proxy: the emulator is on this machine.
rest = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def note(**line):
    print(json.dumps(line), flush=True)


class Tokens(iam_token_service_pb2_grpc.IamTokenServiceServicer):
    def Create(self, request, context):
        names = {"jwt": "jwt", "yandex_passport_oauth_token": "yandexPassportOauthToken"}
        field = request.WhichOneof("identity")
        body = json.dumps({names[field]: getattr(request, field)}).encode()
        headers = {"Content-Type": "application/json"}
        try:
            answer = json.load(rest.open(urllib.request.Request(f"{emulator}/iam/v1/tokens", body, headers), timeout=20))
        except urllib.error.HTTPError as error:
            status = json.load(error)
            note(call="create", refused=status["message"])
            code = next(code for code in grpc.StatusCode if code.value[0] == status["code"])
            context.abort(code, status["message"])
        expires = Timestamp()
        expires.FromJsonString(answer["expiresAt"])
        note(call="create")
        return iam_token_service_pb2.CreateIamTokenResponse(iam_token=answer["iamToken"], expires_at=expires)


class Endpoints(api_endpoint_service_pb2_grpc.ApiEndpointServiceServicer):
    def List(self, request, context):
        ids = ["endpoint", "iam", "resource-manager"]
        here = [api_endpoint_pb2.ApiEndpoint(id=id, address=f"localhost:{port}") for id in ids]
        return api_endpoint_service_pb2.ListApiEndpointsResponse(endpoints=here)


class Clouds(cloud_service_pb2_grpc.CloudServiceServicer):
    def List(self, request, context):
        shown = dict(context.invocation_metadata()).get("authorization")
        note(call="clouds", authorization=shown)
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
# Whoever started this kills it; nobody's test takes longer.
server.wait_for_termination(300)
