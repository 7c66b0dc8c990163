// The Node SDK as its documentation has it: lists clouds, with credentials of one kind.
//
// Usage: client.js key FILE | oauth TOKEN | iam-token TOKEN | metadata | long-jwt FILE. Where the cloud is cannot be said to it: the
// hosts are fixed, and a proxy leads to ours.
'use strict';
const fs = require('fs');
const { Session } = require('@yandex-cloud/nodejs-sdk');
const { cloudService } = require('@yandex-cloud/nodejs-sdk/resourcemanager-v1');
const { IamTokenService } = require('@yandex-cloud/nodejs-sdk/dist/token-service/iam-token-service');

const [kind, word] = process.argv.slice(2);
const key = () => {
  const { id, service_account_id, private_key } = JSON.parse(fs.readFileSync(word, 'utf8'));
  return { accessKeyId: id, serviceAccountId: service_account_id, privateKey: private_key };
};
const list = async (config) => {
  const clouds = new Session(config).client(cloudService.CloudServiceClient);
  const answer = await clouds.list(cloudService.ListCloudsRequest.fromPartial({ pageSize: 100 }));
  return answer.clouds.map((cloud) => cloud.name).join(' ');
};
const kinds = {
  key: () => list({ serviceAccountJson: key() }),
  oauth: () => list({ oauthToken: word }),
  'iam-token': () => list({ iamToken: word }),
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
