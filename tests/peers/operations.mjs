// A client made for other asynchronous services follows a 202 of Relais: the poller of @azure/core-lro, unchanged.
import { setTimeout as pause } from 'node:timers/promises';
import { check, relais, require, upstream, verdict } from './peer.mjs';

const { createHttpPoller } = require('@azure/core-lro');

const service = await upstream(async (request) => {
  const fields = { 'content-type': 'application/json' };
  if (request.url.endsWith('/broken')) return { status: 422, fields, body: '{"error":{"code":"NoSuchSupplier"}}' };
  await pause(1200);
  return { fields, body: '{"imported":3}' };
});
const server = await relais({ config: `[[route]]\npath = "/{*rest}"\nupstream = "${service.url}"\nmode = "auto"` });

// What generated code gives the poller: how to send the first request, and how to ask again.
function operation(method, path) {
  const ask = async (url, options) => {
    const answer = await fetch(url, options);
    const text = await answer.text();
    const body = text ? JSON.parse(text) : undefined;
    const raw = { statusCode: answer.status, headers: Object.fromEntries(answer.headers), body, request: { method } };
    return { flatResponse: body, rawResponse: raw };
  };
  const headers = { 'content-type': 'application/json', prefer: 'respond-async' };
  return {
    sendInitialRequest: () => ask(server.base + path, { method, headers, body: '{"lines":3}' }),
    sendPollRequest: (url) => ask(url),
  };
}

for (const method of ['POST', 'PUT']) {
  const poller = await createHttpPoller(operation(method, '/imports/7'), { intervalInMs: 200 });
  const result = await poller.pollUntilDone();
  check(result.imported === 3, `${method}: the poller ends with the service's own answer: ${JSON.stringify(result)}`);
  check(poller.getOperationState().status === 'succeeded', `${method}: and says that it succeeded`);
}
const poller = await createHttpPoller(operation('POST', '/imports/broken'), { intervalInMs: 200 });
const error = await poller.pollUntilDone().then(() => undefined, (failure) => failure);
check(error && poller.getOperationState().status === 'failed', 'a failure is told as one');
server.stop();
service.stop();
verdict();
