"""The Python SDK as its documentation has it: lists clouds, with credentials of one kind.

Usage: client.py key FILE | oauth TOKEN | iam-token COMMAND… | metadata. SDK_ENDPOINT and SDK_CA say where the cloud is; SDK_LIFE is
how long a JWT is to live, in seconds, where that is another than the SDK's hour.
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
kind, *words = sys.argv[1:]
with open(os.environ["SDK_CA"], "rb") as file:
    where = {"endpoint": os.environ["SDK_ENDPOINT"], "root_certificates": file.read()}
if "SDK_LIFE" in os.environ:
    _auth_fabric.ServiceAccountAuth._ServiceAccountAuth__SECONDS_IN_HOUR = float(os.environ["SDK_LIFE"])
if kind == "key":
    with open(words[0], encoding="utf-8") as file:
        sdk = yandexcloud.SDK(service_account_key=json.load(file), **where)
elif kind == "oauth":
    sdk = yandexcloud.SDK(token=words[0], **where)
elif kind == "iam-token":
    # As users write it: what the command prints, whole.
    sdk = yandexcloud.SDK(iam_token=subprocess.check_output(words, text=True).strip(), **where)
else:
    sdk = yandexcloud.SDK(**where)
try:
    clouds = sdk.client(CloudServiceStub).List(ListCloudsRequest(), timeout=30).clouds
    print("clouds:", *(cloud.name for cloud in clouds))
except grpc.RpcError as error:
    print("refused:", error.code().name, error.details())
    sys.exit(1)
