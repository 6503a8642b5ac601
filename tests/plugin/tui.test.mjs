import assert from "node:assert/strict"
import fs from "node:fs"
import path from "node:path"
import test from "node:test"

import plugin from "../../src/plugin/tui.js"
import { daemon, listening, stateDir, terminal } from "./support.mjs"

const healthy = async () => Response.json({ healthy: true, version: "1.18.33" })
const unasked = async () => assert.fail("the network is asked")

test("one listener and one registration for a process, however often it is loaded", async () => {
  const pointsman = await daemon()
  const served = listening()
  const options = { stateDir: stateDir(pointsman.registration) }
  const terminals = [terminal(healthy), terminal(healthy), terminal(healthy)]
  for (const { api } of terminals) await plugin.tui(api, options)
  const { body } = await pointsman.until(({ path }) => path === "/servers")
  assert.equal(served.length, 1)
  assert.deepEqual([served[0].hostname, served[0].port], ["127.0.0.1", 0])
  const { kind, url, pid, directory, worktree, version, plugin: own } = body
  assert.deepEqual([kind, url, own, version], ["tui", "http://127.0.0.1:4711", true, "1.18.33"])
  assert.deepEqual([pid, directory, worktree], [process.pid, "/home/ann/shop", "/home/ann/shop"])
  assert.match(body.token, /^[0-9a-f]{64}$/)
  for (const { ends } of terminals.slice(1)) await ends[0]()
  assert.equal(served.length, 1)
  assert.ok(!pointsman.asked.some(({ method }) => method === "DELETE"))
  await terminals[0].ends[0]()
  await terminals[0].ends[0]()
  assert.equal(served.length, 0)
  assert.deepEqual(pointsman.asked.filter(({ method }) => method === "DELETE").length, 1)
  assert.deepEqual(pointsman.asked.filter(({ path }) => path === "/servers").length, 1)
  pointsman.close()
})

test("a process that listens registers that address, and opens no other", async () => {
  for (const [fetch, baseUrl, told] of [
    [undefined, "http://127.0.0.1:4096", "http://127.0.0.1:4096"],
    [unasked, "http://0.0.0.0:4096/", "http://127.0.0.1:4096"],
  ]) {
    const pointsman = await daemon()
    const served = listening()
    const { api, ends } = terminal(fetch, baseUrl)
    await plugin.tui(api, { stateDir: stateDir(pointsman.registration) })
    const { body } = await pointsman.until(({ path }) => path === "/servers")
    assert.deepEqual([body.kind, body.url, body.token, body.plugin], ["tui", told, undefined, undefined])
    assert.equal(served.length, 0)
    await ends[0]()
    pointsman.close()
  }
})

test("nothing is opened before the server within has answered", async () => {
  const pointsman = await daemon()
  const served = listening()
  let asked = 0
  const slow = async (request) => {
    asked += 1
    assert.equal(new URL(request.url).host, "pointsman.invalid")
    if (asked === 1) throw new TypeError("it is starting")
    if (asked === 2) return new Response("<html>")
    assert.equal(served.length, 0)
    return healthy()
  }
  const { api, ends } = terminal(slow)
  await plugin.tui(api, { stateDir: stateDir(pointsman.registration) })
  const { body } = await pointsman.until(({ path }) => path === "/servers")
  assert.deepEqual([asked, body.plugin, served.length], [3, true, 1])
  await ends[0]()
  pointsman.close()
})

test("without a state directory, or in a process of another kind, nothing happens", async () => {
  const served = listening()
  const arguments_ = process.argv
  for (const [options, words] of [[undefined, []], [{}, []], [{ stateDir: "/nowhere" }, ["models"]]]) {
    process.argv = [...arguments_.slice(0, 2), ...words]
    const { api, ends } = terminal(healthy)
    await plugin.tui(api, options)
    assert.deepEqual([ends.length, globalThis[Symbol.for("pointsman")]], [0, undefined])
  }
  process.argv = arguments_
  assert.equal(served.length, 0)
})

test("it throws nothing, whatever it is given", async () => {
  listening()
  const empty = fs.mkdtempSync(path.join(stateDir("{"), "x"))
  for (const api of [undefined, null, {}, { lifecycle: {} }]) await plugin.tui(api, { stateDir: empty })
  delete globalThis[Symbol.for("pointsman")]
})
