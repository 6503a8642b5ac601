// A pointsman, as this process speaks to it: it proves itself first, and only then is told anything.

import crypto from "node:crypto"

import { ask } from "./http.js"
import { PROTOCOL } from "./registration-file.js"

const SECRET = "X-Pointsman-Secret"

/** What a daemon answers that will not have us, now or as we are. */
export class Refused extends Error {
  constructor(status) {
    super(`it answers ${status}`)
    this.status = status
  }
}

export class Daemon {
  #url
  #named
  #secret

  /** Where it is and what proves it, from the registration file. Nobody is asked yet. */
  constructor({ url, secret }) {
    this.#url = url.replace(/\/+$/, "")
    this.#named = url
    this.#secret = secret
  }

  /** Throws unless whoever listens there knows the secret, which is not sent for this. */
  async prove() {
    const nonce = crypto.randomBytes(16).toString("hex")
    const { proof } = await this.#call("POST", "/servers/challenge", { nonce }, false)
    if (typeof proof !== "string" || !same(proof, proofOf(this.#secret, nonce, this.#named))) {
      throw new Refused("no proof")
    }
  }

  /** Gives `{ id, heartbeat }`, the second in milliseconds. */
  async register(description) {
    const answer = await this.#call("POST", "/servers", { protocol: PROTOCOL, ...description })
    if (typeof answer.id !== "string") throw new Refused("no id")
    const heartbeat = Number(answer.heartbeat_ms)
    return { id: answer.id, heartbeat: heartbeat >= 100 ? heartbeat : 5000 }
  }

  async heartbeat(id, viewing) {
    await this.#call("PUT", `/servers/${encodeURIComponent(id)}`, viewing)
  }

  async remove(id) {
    await this.#call("DELETE", `/servers/${encodeURIComponent(id)}`)
  }

  async #call(method, path, body, trusted = true) {
    const headers = trusted ? { [SECRET]: this.#secret } : {}
    const { status, text } = await ask(method, this.#url + path, headers, body)
    if (status < 200 || status > 299) throw new Refused(status)
    return text ? JSON.parse(text) : {}
  }
}

/** What a daemon with this secret, at this URL, makes of a nonce. */
export function proofOf(secret, nonce, url) {
  return crypto.createHmac("sha256", secret).update(`pointsman challenge\n${nonce}\n${url}`).digest("hex")
}

/** Whether two texts are equal, in a time that does not tell where they differ. */
export function same(one, other) {
  const digest = (text) => crypto.createHash("sha256").update(text).digest()
  return crypto.timingSafeEqual(digest(one), digest(other))
}
