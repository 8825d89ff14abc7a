// A server of the demo model, and a way to it that is as slow as a large model.
import { spawn } from "node:child_process";
import http from "node:http";
import net from "node:net";

/** Until a server listens. Units: milliseconds. */
const START_MS_MAX = 60_000;
/** Between two events of a slow stream. Units: milliseconds. */
const PAUSE_MS = 60;

async function freePort() {
  const probe = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => probe.once("listening", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** Starts `gptoss serve` with these arguments on a free port, or on `port`. */
export async function serve(args = [], port = null) {
  const chosen = port ?? (await freePort());
  const child = spawn(process.env.PROGRAM, ["serve", "--port", String(chosen), ...args], { stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const server = {
    port: chosen,
    address: `http://127.0.0.1:${chosen}`,
    async stop() {
      child.kill("SIGKILL");
      await ended;
    },
  };
  process.once("exit", () => child.kill("SIGKILL"));
  for (const begun = Date.now(); ; ) {
    const isReady = await fetch(`${server.address}/ready`).then((response) => response.ok, () => false);
    if (isReady) return server;
    if (child.exitCode !== null || Date.now() - begun > START_MS_MAX) throw new Error("the server does not start");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A relay to `port` that passes the events of a stream on one at a time, with a pause before each. */
export async function relaySlowly(port) {
  const relay = http.createServer((request, response) => {
    const onward = http.request({ host: "127.0.0.1", port, path: request.url, method: request.method, headers: request.headers }, async (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      const isStream = answer.headers["content-type"]?.startsWith("text/event-stream");
      let rest = "";
      for await (const bytes of answer) {
        if (!isStream) response.write(bytes);
        else {
          const events = (rest + bytes).split("\n\n");
          rest = events.pop();
          for (const event of events) {
            await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
            if (response.destroyed) return;
            response.write(`${event}\n\n`);
          }
        }
      }
      response.end(rest);
    });
    onward.on("error", () => response.destroy());
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  });
  await new Promise((resolve) => relay.listen(0, "127.0.0.1", resolve));
  return { address: `http://127.0.0.1:${relay.address().port}`, stop: () => relay.closeAllConnections() ?? relay.close() };
}
