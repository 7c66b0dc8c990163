"""Lists clouds with the Python SDK, used as its documentation shows, with one kind of credentials.

Usage: client.py key FILE | oauth TOKEN | iam-token COMMAND… | metadata

SDK_ENDPOINT and SDK_CA are the endpoint of the cloud and its certificate authority. SDK_LIFE is the validity of a JWT in
seconds, if it differs from the SDK's hour.
"""

import json
import os
import subprocess
import sys
import warnings

import grpc
import yandexcloud
from yandex.cloud.resourcemanager.v1.cloud_service_pb2 import ListCloudsRequest
from yandex.cloud.resourcemanager.v1.cloud_service_pb2_grpc import CloudServiceStub
from yandexcloud import _auth_fabric

warnings.simplefilter("ignore", DeprecationWarning)
kind, *arguments = sys.argv[1:]
with open(os.environ["SDK_CA"], "rb") as file:
    cloud = {"endpoint": os.environ["SDK_ENDPOINT"], "root_certificates": file.read()}
if "SDK_LIFE" in os.environ:
    _auth_fabric.ServiceAccountAuth._ServiceAccountAuth__SECONDS_IN_HOUR = float(os.environ["SDK_LIFE"])
if kind == "key":
    with open(arguments[0], encoding="utf-8") as file:
        sdk = yandexcloud.SDK(service_account_key=json.load(file), **cloud)
elif kind == "oauth":
    sdk = yandexcloud.SDK(token=arguments[0], **cloud)
elif kind == "iam-token":
    # Uses all that the command prints, as users do.
    sdk = yandexcloud.SDK(iam_token=subprocess.check_output(arguments, text=True).strip(), **cloud)
else:
    sdk = yandexcloud.SDK(**cloud)
try:
    clouds = sdk.client(CloudServiceStub).List(ListCloudsRequest(), timeout=30).clouds
    print("clouds:", *(cloud.name for cloud in clouds))
except grpc.RpcError as error:
    print("refused:", error.code().name, error.details())
    sys.exit(1)
