// What runs the work that Restate and Relais are measured with: both push each task to this one
// process, Restate through its SDK (HTTP/2), Relais as a plain POST. It does nothing, so that the
// figures are those of the servers. It listens on loopback, prints both ports, and runs until killed.
import http from "node:http";
import http2 from "node:http2";
import * as restate from "@restatedev/restate-sdk";

// The SDK expects it; Node has it from version 22 on.
Promise.withResolvers ??= () => {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
};

const bench = restate.service({ name: "bench", handlers: { run: async () => ({ ok: true }) } });
const answer = JSON.stringify({ ok: true });
const plain = http.createServer((request, response) => {
  request.resume().on("end", () => {
    response.writeHead(200, { "Content-Type": "application/json" }).end(answer);
  });
});
const wrapped = http2.createServer(restate.createEndpointHandler({ services: [bench] }));
const listen = (server) =>
  new Promise((ready) => server.listen(0, "127.0.0.1", () => ready(server.address().port)));
console.log(JSON.stringify({ plain: await listen(plain), restate: await listen(wrapped) }));
