import assert from "node:assert/strict"
import test from "node:test"

import { passage } from "../../src/plugin/passage.js"

const TOKEN = "0123"
const ME = "00112233aabbccdd"

/** The way into a server that `answers`; gives what got through as well. */
function way(answers = () => Response.json({ ok: true }), environment = {}, faithful = false) {
  const passed = []
  const listeners = new Set()
  const hear = (listener) => (listeners.add(listener), () => listeners.delete(listener))
  const answer = passage({
    token: TOKEN,
    instance: ME,
    within: "http://pointsman.invalid",
    fetch: async (request) => (passed.push(request), answers(request)),
    remade: faithful ? undefined : { hear, directory: () => "/home/ann/shop" },
    environment,
  })
  const ask = (path, { headers, ...rest } = {}) =>
    answer(new Request(`http://127.0.0.1:1${path}`, { headers: { authorization: `Bearer ${TOKEN}`, ...headers }, ...rest }))
  return { ask, passed, listeners }
}

test("without the token nobody passes, whatever is asked", async () => {
  const { ask, passed, listeners } = way()
  for (const authorization of ["", "Bearer", "Bearer 0124", "bearer 0123", `Basic ${TOKEN}`]) {
    for (const path of ["/path", "/global/health", "/global/event", "/?auth_token=MDEyMw=="]) {
      const answer = await ask(path, { headers: { authorization } })
      assert.equal(answer.status, 401, `${authorization} ${path}`)
      assert.equal((await answer.json()).name, "UnauthorizedError")
    }
  }
  assert.deepEqual([passed.length, listeners.size], [0, 0])
})

test("a request passes whole, under another host and without what was meant for us", async () => {
  const { ask, passed } = way()
  const answer = await ask("/session/ses_1/message?directory=%2Fx&a=b", {
    method: "POST",
    body: '{"text":"grüße"}',
    headers: { "content-type": "application/json", "x-opencode-directory": "/x", "x-pointsman-hop": "aa", "accept-encoding": "gzip" },
  })
  assert.deepEqual([answer.status, await answer.json()], [200, { ok: true }])
  const [request] = passed
  assert.equal(request.url, "http://pointsman.invalid/session/ses_1/message?directory=%2Fx&a=b")
  assert.equal(await request.text(), '{"text":"grüße"}')
  const { headers } = request
  assert.deepEqual(
    ["authorization", "accept-encoding", "x-opencode-directory", "x-pointsman-hop"].map((name) => headers.get(name)),
    [null, null, "/x", `aa, ${ME}`],
  )
})

test("a server with a password is given its own", async () => {
  for (const [environment, basic] of [
    [{ OPENCODE_SERVER_PASSWORD: "hunter2" }, "opencode:hunter2"],
    [{ OPENCODE_SERVER_PASSWORD: "hunter2", OPENCODE_SERVER_USERNAME: "ann" }, "ann:hunter2"],
  ]) {
    const { ask, passed } = way(undefined, environment)
    await ask("/path")
    assert.equal(passed[0].headers.get("authorization"), `Basic ${btoa(basic)}`)
  }
})

test("a request that comes back is refused, one that passed others is not", async () => {
  const { ask, passed } = way()
  assert.equal((await ask("/path", { headers: { "x-pointsman-hop": "aa,bb" } })).status, 200)
  for (const hops of [ME, `aa, ${ME}`, `aa,${ME},bb`]) {
    const answer = await ask("/path", { headers: { "x-pointsman-hop": hops } })
    assert.deepEqual([answer.status, (await answer.json()).name], [508, "LoopError"])
  }
  assert.equal(passed.length, 1)
})

test("even where the way in leads over the network, nothing goes round twice", async () => {
  // What forwards to itself sees its own mark.
  const ring = way((request) => ring.ask("/path", { headers: Object.fromEntries(request.headers) }))
  const answer = await ring.ask("/path")
  assert.deepEqual([answer.status, ring.passed.length], [508, 1])
})

test("what cannot go this way is said in the agent's own shape", async () => {
  const { ask, passed } = way(() => new Response("\x89PNG", { headers: { "content-type": "image/png" } }))
  for (const [path, headers] of [
    ["/pty/pty_1/connect", { upgrade: "websocket" }],
    ["/api/session/ses_1/event", {}],
    ["/favicon.png", {}],
  ]) {
    const answer = await ask(path, { headers })
    const { name, data } = await answer.json()
    assert.deepEqual([answer.status, name], [501, "NotImplementedError"], path)
    assert.ok(data.message.includes("port"), data.message)
  }
  assert.equal(passed.length, 1)
})

test("answers keep status and headers, and no length that is not theirs", async () => {
  const headers = { "content-type": "application/json", "content-length": "999", link: "<http://x/>" }
  const { ask } = way(() => new Response('{"name":"NotFoundError"}', { status: 404, headers }))
  const answer = await ask("/session/ses_1")
  assert.deepEqual([answer.status, answer.headers.get("link"), answer.headers.get("content-length")], [404, "<http://x/>", null])
  const nothing = way(() => new Response(null, { status: 204 }))
  assert.equal((await nothing.ask("/x", { method: "POST" })).status, 204)
})

test("where the way within carries everything, everything but an upgrade passes as it is", async () => {
  const stream = () => new Response(new ReadableStream({ start: (body) => body.enqueue(new TextEncoder().encode("data: 1\n\n")) }))
  for (const path of ["/global/event", "/event", "/api/event", "/api/session/ses_1/event"]) {
    const { ask, passed, listeners } = way(stream, {}, true)
    const reader = (await ask(path)).body.getReader()
    assert.equal(new TextDecoder().decode((await reader.read()).value), "data: 1\n\n", path)
    assert.deepEqual([passed.length, listeners.size], [1, 0])
    await reader.cancel()
  }
  const bytes = new Uint8Array([0, 255, 128])
  const { ask } = way(() => new Response(bytes, { headers: { "content-type": "image/png" } }), {}, true)
  assert.deepEqual(new Uint8Array(await (await ask("/image.png")).arrayBuffer()), bytes)
  assert.equal((await ask("/pty/pty_1/connect", { headers: { upgrade: "websocket" } })).status, 501)
  assert.equal((await ask("/path", { headers: { authorization: "" } })).status, 401)
  assert.equal((await ask("/path", { headers: { "x-pointsman-hop": ME } })).status, 508)
})
