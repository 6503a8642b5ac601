import assert from "node:assert/strict"
import test from "node:test"

import { EVENT_TYPES } from "../../src/plugin/event-types.js"
import { Hearing, typesIn } from "../../src/plugin/hearing.js"

function hearing() {
  const subscribed = new Map()
  const one = new Hearing((type, listener) => (subscribed.set(type, listener), () => subscribed.delete(type)))
  return { one, subscribed }
}

test("each type is listened to once while anybody hears, and none when nobody does", () => {
  const { one, subscribed } = hearing()
  assert.equal(subscribed.size, 0)
  const heard = []
  const releases = ["a", "b"].map((name) => one.hear((payload, { directory }) => heard.push([name, payload, directory])))
  assert.deepEqual([...subscribed.keys()], EVENT_TYPES)
  subscribed.get("session.idle")("x", { directory: "/here" })
  assert.deepEqual(heard, [["a", "x", "/here"], ["b", "x", "/here"]])
  releases[0]()
  assert.equal(subscribed.size, EVENT_TYPES.length)
  releases[1]()
  assert.equal(subscribed.size, 0)
})

test("types of a newer server are heard as well, from the moment they are known", () => {
  const payload = (type) => ({ type: "object", properties: { id: {}, type: { enum: [type] }, properties: {} } })
  const document = {
    components: {
      schemas: {
        GlobalEvent: { properties: { payload: { anyOf: [payload("sync"), payload("session.idle"), { $ref: "#/components/schemas/EventNew" }] } } },
        EventNew: payload("session.sang"),
      },
    },
  }
  assert.deepEqual(typesIn(document), ["session.idle", "session.sang"])
  const { one, subscribed } = hearing()
  one.learn(typesIn(document))
  assert.equal(subscribed.size, 0)
  const release = one.hear(() => {})
  one.learn(["session.danced"])
  assert.equal(subscribed.size, EVENT_TYPES.length + 2)
  release()
  assert.equal(subscribed.size, 0)
})
