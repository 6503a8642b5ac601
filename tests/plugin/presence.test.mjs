import assert from "node:assert/strict"
import test from "node:test"

import { Presence } from "../../src/plugin/presence.js"
import { Screen } from "../../src/plugin/screen.js"
import { daemon } from "./support.mjs"

const TOKEN = "the terminal's own token"

function presence(read, server = { describe: async () => ({ instance: "i", token: TOKEN }) }) {
  const screen = new Screen({})
  const one = new Presence({ read, server, screen })
  return { one, screen, run: one.run() }
}

test("a daemon is told where we are once it has proved itself, and each change at once", async () => {
  const pointsman = await daemon()
  const { one, screen, run } = presence(() => pointsman.registration)
  const registered = await pointsman.until(({ path, method }) => method === "POST" && path === "/servers")
  assert.deepEqual(
    pointsman.asked.map(({ path, secret }) => [path, secret !== undefined]),
    [["/servers/challenge", false], ["/servers", true]],
  )
  assert.equal(registered.body.protocol, 1)
  assert.equal(registered.body.token, TOKEN)
  assert.ok(!("viewing" in registered.body), "nothing is said of a screen that was not seen")
  screen.show("ses_1")
  // The heartbeat is a minute away.
  const moved = await pointsman.until(({ method }) => method === "PUT")
  assert.deepEqual([moved.path, moved.body], ["/servers/srv_1", screen.report()])
  await one.end()
  await run
  assert.equal(pointsman.asked.at(-1).method, "DELETE")
  pointsman.close()
})

test("whoever cannot prove that it knows the secret is told neither secret nor token", async () => {
  for (const proof of [undefined, "", "0".repeat(64), 7]) {
    const thief = await daemon((method, path) => (path === "/servers/challenge" ? [200, { proof }] : undefined))
    const { one, run } = presence(() => thief.registration)
    await thief.until(() => true)
    await one.end()
    await run
    assert.deepEqual(thief.asked.map(({ path, secret }) => [path, secret]), [["/servers/challenge", undefined]])
    assert.ok(!JSON.stringify(thief.asked).includes(TOKEN))
    thief.close()
  }
})

test("a daemon that has forgotten us, or was started anew elsewhere, is told again", async () => {
  let forgot = false
  const first = await daemon((method) => (method === "PUT" && !forgot ? ((forgot = true), [404, {}]) : undefined))
  const second = await daemon()
  let current = first
  const { one, screen, run } = presence(() => current.registration)
  await first.until(({ path }) => path === "/servers")
  screen.show("ses_1")
  await first.until(({ body }) => body?.token && body.viewing === "ses_1")
  const challenges = first.asked.filter(({ path }) => path === "/servers/challenge")
  assert.equal(challenges.length, 2)
  assert.notEqual(challenges[0].body.nonce, challenges[1].body.nonce)
  current = second
  first.close()
  screen.show("ses_2")
  const again = await second.until(({ body }) => body?.token)
  assert.equal(again.body.viewing, "ses_2")
  await one.end()
  await run
  second.close()
})

test("without a daemon it waits, and opens nothing", async () => {
  let looked = 0
  const pointsman = await daemon()
  const opened = []
  const server = { describe: async () => (opened.push(pointsman.asked.length), {}) }
  const read = () => {
    looked += 1
    if (looked < 3) throw new Error("there is no file")
    return pointsman.registration
  }
  const { one, run } = presence(read, server)
  await pointsman.until(({ path }) => path === "/servers")
  assert.deepEqual([looked, opened], [3, [1]])
  await one.end()
  await run
  pointsman.close()
})

test("a daemon that stops just now is asked again soon", async () => {
  let stopping = 1
  const pointsman = await daemon((method, path) => (path === "/servers" && stopping-- > 0 ? [503, {}] : undefined))
  const { one, run } = presence(() => pointsman.registration)
  await pointsman.until(({ path }) => path === "/servers" && stopping < 0)
  await one.end()
  await run
  pointsman.close()
})
