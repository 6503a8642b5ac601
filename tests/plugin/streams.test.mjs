import assert from "node:assert/strict"
import test from "node:test"

import { eventStream, said } from "../../src/plugin/streams.js"

const HERE = { directory: "/here" }

function open(path, headers = {}) {
  const listeners = new Set()
  const hear = (listener) => (listeners.add(listener), () => listeners.delete(listener))
  const request = new Request(`http://127.0.0.1:1${path}`, { headers })
  const answer = eventStream(request, { hear, directory: () => "/here" })
  const reader = answer.body.getReader()
  const next = async () => new TextDecoder().decode((await reader.read()).value)
  const tell = (type, at, properties = {}) => {
    for (const listener of listeners) listener({ id: "evt_1", type, properties }, at)
  }
  return { answer, reader, next, tell, listeners }
}

const data = (text) => JSON.parse(/^data: (.*)\n\n$/s.exec(text)[1])

test("a stream greets, tells each event with its directory, and lets go when its reader leaves", async () => {
  const stream = open("/global/event")
  assert.equal(stream.answer.headers.get("content-type"), "text/event-stream")
  const { payload } = data(await stream.next())
  assert.equal(payload.type, "server.connected")
  assert.match(payload.id, /^evt_[0-9a-f]{12}[0-9A-Za-z]{14}$/)
  stream.tell("session.idle", { directory: "/there" }, { sessionID: "ses_1" })
  assert.deepEqual(data(await stream.next()), {
    directory: "/there",
    payload: { id: "evt_1", type: "session.idle", properties: { sessionID: "ses_1" } },
  })
  await stream.reader.cancel()
  assert.equal(stream.listeners.size, 0)
})

test("the stream of one directory tells of that one alone", async () => {
  for (const [path, headers, wanted] of [
    ["/event", {}, "/here"],
    ["/event?directory=%2Fthere", {}, "/there"],
    ["/event", { "x-opencode-directory": "%2Fthere" }, "/there"],
  ]) {
    const stream = open(path, headers)
    assert.equal(data(await stream.next()).type, "server.connected")
    for (const directory of ["/here", "/there", "global"]) stream.tell("session.idle", { directory }, { directory })
    assert.equal(data(await stream.next()).properties.directory, wanted)
    await stream.reader.cancel()
  }
})

test("the second interface has words of its own, and leaves out what it cannot say", () => {
  const tell = (type, at) => said("/api/event", undefined, { id: "evt_1", type, properties: { a: 1 } }, at)
  assert.deepEqual(JSON.parse(tell("session.next.prompted", HERE)), {
    id: "evt_1", type: "session.next.prompted", location: HERE, data: { a: 1 },
  })
  assert.deepEqual(JSON.parse(tell("project.updated", { directory: "global" })).location, undefined)
  for (const type of ["session.status", "session.idle", "session.diff", "permission.asked", "tui.toast.show", "server.instance.disposed"]) {
    assert.equal(tell(type, HERE), null, type)
  }
})

test("a reader that does not read is cut off", async () => {
  const stream = open("/global/event")
  for (let told = 0; stream.listeners.size > 0; told += 1) {
    assert.ok(told < 20_000, "it is kept for ever")
    stream.tell("session.idle", HERE)
  }
  let read = 0
  while (!(await stream.reader.read()).done) read += 1
  assert.ok(read > 1000)
})
