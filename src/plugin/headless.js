// The server of a process without a screen: `run`, which nobody can reach, and those that listen by themselves.

import crypto from "node:crypto"

import { ask } from "./http.js"
import { ownSockets } from "./own-sockets.js"
import { health, listen } from "./within.js"

export class Headless {
  #input
  #kind
  #sockets
  #instance = crypto.randomBytes(16).toString("hex")
  #listener = null

  /** `input` is what OpenCode hands to a plugin of its server, `kind` what the arguments say. Nothing is opened yet. */
  constructor(input, kind, sockets = ownSockets) {
    this.#input = input
    this.#kind = kind
    this.#sockets = sockets
  }

  /** What pointsman is told of it; opens a listener first where the process has none. Throws if nobody answers. */
  async describe() {
    return { instance: this.#instance, pid: process.pid, kind: this.#kind, ...(await this.#reached()) }
  }

  async #reached() {
    if (this.#listener === null) {
      // Sockets before words: `acp` is loaded before it listens, and never says where.
      for (const url of this.#sockets() ?? this.#said()) {
        const found = await answering(url)
        if (found) return { url, version: found.version, directory: process.cwd() }
      }
    }
    if (this.#kind !== "run") throw new Error("it does not listen yet")
    const { fetch } = this.#input.client._client.getConfig()
    const { version } = await health(fetch)
    this.#listener ??= listen({ fetch, instance: this.#instance })
    const { url, token } = this.#listener
    const { directory, worktree } = this.#input
    return { url, token, plugin: true, version, directory, worktree }
  }

  /** Where the kernel does not tell: `serve` and `web` say where they listen, others name a place where nobody is. */
  #said() {
    return ["serve", "web"].includes(this.#kind) ? [this.#input.serverUrl.origin] : []
  }

  close() {
    this.#listener?.close()
    this.#listener = null
  }
}

/** What OpenCode says of itself at `url`, if it is OpenCode that listens there. */
async function answering(url) {
  try {
    const { status, text } = await ask("GET", `${url}/global/health`, credentials(process.env))
    const said = status === 200 ? JSON.parse(text) : {}
    return said.healthy === true ? said : null
  } catch {
    return null
  }
}

function credentials({ OPENCODE_SERVER_PASSWORD: password, OPENCODE_SERVER_USERNAME: user = "opencode" }) {
  return password ? { Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` } : {}
}
