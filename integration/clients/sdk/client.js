// Lists clouds with the Node SDK, used as its documentation shows, with one kind of credentials.
//
// Usage: client.js key FILE | oauth TOKEN | iam-token TOKEN | metadata | long-jwt FILE
//
// The hosts of the SDK are fixed, so a proxy redirects it to the gateway.
'use strict';
const fs = require('fs');
const { Session } = require('@yandex-cloud/nodejs-sdk');
const { cloudService } = require('@yandex-cloud/nodejs-sdk/resourcemanager-v1');
const { IamTokenService } = require('@yandex-cloud/nodejs-sdk/dist/token-service/iam-token-service');

const [kind, argument] = process.argv.slice(2);
const key = () => {
  const { id, service_account_id, private_key } = JSON.parse(fs.readFileSync(argument, 'utf8'));
  return { accessKeyId: id, serviceAccountId: service_account_id, privateKey: private_key };
};
const list = async (config) => {
  const clouds = new Session(config).client(cloudService.CloudServiceClient);
  const response = await clouds.list(cloudService.ListCloudsRequest.fromPartial({ pageSize: 100 }));
  return response.clouds.map((cloud) => cloud.name).join(' ');
};
const kinds = {
  key: () => list({ serviceAccountJson: key() }),
  oauth: () => list({ oauthToken: argument }),
  'iam-token': () => list({ iamToken: argument }),
  metadata: () => list(undefined),
  'long-jwt': () => {
    const service = new IamTokenService(key());
    service.jwtExpirationTimeout = 3700 * 1000;
    return service.getToken();
  },
};
kinds[kind]().then(
  (names) => { console.log('clouds:', names); process.exit(0); },
  (error) => { console.log('refused:', error.message); process.exit(1); },
);
