import assert from "node:assert/strict"
import http from "node:http"
import test from "node:test"

import { ownSockets } from "../../src/plugin/own-sockets.js"
import { runs } from "../../src/plugin/runs.js"
import { daemon, listening, stateDir } from "./support.mjs"

const healthy = async () => Response.json({ healthy: true, version: "1.18.33" })
const OURS = Symbol.for("pointsman")
const { argv } = process

/** What OpenCode hands to a plugin of its server. */
function input(fetch, directory = "/home/ann/shop") {
  const serverUrl = new URL("http://localhost:4096")
  return { directory, worktree: directory, serverUrl, client: { _client: { getConfig: () => ({ fetch }) } } }
}

async function started(words, pointsman, given = input(healthy)) {
  process.argv = [...argv.slice(0, 2), ...words]
  try {
    return await runs(stateDir(pointsman.registration))(given)
  } finally {
    process.argv = argv
  }
}

/** A server of this very process. */
async function own(answer) {
  const server = http.createServer((request, response) => {
    const [status, said] = answer(request)
    response.writeHead(status, { "content-type": "application/json" })
    response.end(JSON.stringify(said))
  })
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
  const close = () => (server.closeAllConnections(), server.close())
  return { url: `http://127.0.0.1:${server.address().port}`, close }
}

test("a run is known once it has a session, by a listener of the plugin's own, and says goodbye", async () => {
  const pointsman = await daemon()
  const served = listening()
  const { event, dispose } = await started(["run", "say hello"], pointsman)
  for (const properties of [undefined, {}, { info: {} }]) await event({ event: { type: "plugin.added", properties } })
  assert.deepEqual([globalThis[OURS], served.length], [undefined, 0])
  await event({ event: { type: "session.created", properties: { info: {}, sessionID: "ses_1" } } })
  await event({ event: { type: "session.updated", properties: { info: { sessionID: "ses_1" } } } })
  const { body } = await pointsman.until(({ path }) => path === "/servers")
  const { kind, url, plugin, version, directory, worktree, pid } = body
  assert.deepEqual([kind, url, plugin, version], ["run", "http://127.0.0.1:4711", true, "1.18.33"])
  assert.deepEqual([directory, worktree, pid], ["/home/ann/shop", "/home/ann/shop", process.pid])
  assert.match(body.token, /^[0-9a-f]{64}$/)
  assert.ok(!("viewing" in body))
  assert.equal(served.length, 1)
  await dispose()
  assert.equal(pointsman.asked.at(-1).method, "DELETE")
  assert.deepEqual([globalThis[OURS], served.length], [undefined, 0])
  pointsman.close()
})

test("a process that listens registers that address alone, and once, whatever it serves and gives up", async () => {
  for (const kind of ["serve", "web", "acp"]) {
    const pointsman = await daemon()
    const served = listening()
    const server = await own(({ url, headers }) =>
      url === "/global/health" && headers.authorization ? [200, { healthy: true, version: "1.18.33" }] : [401, {}])
    process.env.OPENCODE_SERVER_PASSWORD = "hunter2"
    const hooks = []
    for (const name of ["a", "b", "c", "d", "e"]) hooks.push(await started([kind], pointsman, input(healthy, `/home/ann/${name}`)))
    const { body } = await pointsman.until(({ path }) => path === "/servers")
    delete process.env.OPENCODE_SERVER_PASSWORD
    assert.deepEqual([body.kind, body.url, body.directory, body.token, body.plugin], [kind, server.url, process.cwd(), undefined, undefined])
    for (const { dispose } of hooks) await dispose?.()
    assert.deepEqual(pointsman.asked.filter(({ path, method }) => path === "/servers" || method === "DELETE").length, 1)
    assert.equal(served.length, 0)
    await globalThis[OURS].end()
    delete globalThis[OURS]
    server.close()
    pointsman.close()
  }
})

test("a run that listens after all opens nothing else", async () => {
  const pointsman = await daemon()
  const served = listening()
  const server = await own(() => [200, { healthy: true, version: "1.18.33" }])
  const { event, dispose } = await started(["run", "hello"], pointsman)
  await event({ event: { type: "session.status", properties: { sessionID: "ses_1" } } })
  const { body } = await pointsman.until(({ path }) => path === "/servers")
  assert.deepEqual([body.kind, body.url, body.token, served.length], ["run", server.url, undefined, 0])
  await dispose()
  server.close()
  pointsman.close()
})

test("one that does not answer yet is waited for, and nothing is opened in its stead", async () => {
  const pointsman = await daemon()
  const served = listening()
  let asked = 0
  const server = await own(() => ((asked += 1) < 3 ? [503, {}] : [200, { healthy: true, version: "1.18.33" }]))
  await started(["acp"], pointsman)
  const { body } = await pointsman.until(({ path }) => path === "/servers")
  assert.equal(asked, 3)
  assert.deepEqual([body.url, served.length], [server.url, 0])
  await globalThis[OURS].end()
  delete globalThis[OURS]
  server.close()
  pointsman.close()
})

test("terminals, their servers and all other commands are left alone", async () => {
  const pointsman = await daemon()
  for (const [words, main] of [
    [["models"], true], [["session", "list"], true], [["mcp", "list"], true], [["export", "ses_1"], true],
    [[], true], [["--port", "0"], true], [["attach", "http://127.0.0.1:1"], true], [["run", "--attach", "http://127.0.0.1:1"], true],
    [["run"], false], [[], false],
  ]) {
    const served = listening(main)
    assert.deepEqual(await started(words, pointsman), {}, words.join(" "))
    assert.deepEqual([globalThis[OURS], served.length], [undefined, 0])
  }
  assert.deepEqual(pointsman.asked, [])
  pointsman.close()
})

test("a process knows where it listens", async () => {
  const before = ownSockets()
  const servers = await Promise.all(["127.0.0.1", "::1", "0.0.0.0", "::", "127.0.0.2"].map((host) =>
    new Promise((resolve) => {
      const server = http.createServer().listen(0, host, () => resolve([server, server.address().port]))
    })))
  const hosts = ["127.0.0.1", "[0:0:0:0:0:0:0:1]", "127.0.0.1", "[::1]", "127.0.0.2"]
  const urls = servers.map(([, port], at) => `http://${hosts[at]}:${port}`)
  assert.deepEqual(ownSockets().filter((url) => !before.includes(url)).sort(), urls.sort())
  for (const [server] of servers) server.close()
  assert.equal(ownSockets("/nowhere"), undefined)
})
