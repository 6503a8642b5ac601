// Run by OpenCode's own runtime, with a proxy in the environment: registers, and tells what the proxy saw.

import http from "node:http"

import { Presence } from "../../src/plugin/presence.js"
import { Screen } from "../../src/plugin/screen.js"
import { daemon } from "./support.mjs"

const seen = []
const proxy = http.createServer((request, response) => {
  seen.push(request.url)
  response.end("{}")
})
await new Promise((resolve) => proxy.listen(Number(new URL(process.env.http_proxy).port), "127.0.0.1", resolve))
const pointsman = await daemon()
// The control: whoever asks by the usual means is led through the proxy.
await fetch(`${pointsman.url}/control`).catch(() => {})
new Presence({ read: () => pointsman.registration, server: { describe: async () => ({}) }, screen: new Screen({}) }).run()
const { secret } = await pointsman.until(({ path }) => path === "/servers")
console.log(JSON.stringify({ runtime: process.versions.bun, registered: secret !== undefined, seen: seen.map((url) => new URL(url).pathname) }))
process.exit()
