// The way into a server that has no port: who may pass, what is taken off, and what cannot go this way.
//
// The terminal's own `fetch` hands requests and whole answers over as text. So there streams are made anew from the
// terminal's events, and what is not text is refused rather than damaged. The server's own carries all but upgrades.

import { same } from "./daemon.js"
import { eventStream, isEventStream } from "./streams.js"

/** Where every pointsman on the way leaves its id, and so do we: a request that comes back is refused. */
const HOP = "x-pointsman-hop"

/** Ends here: ours, of one hop, or more than the way within can carry. */
const TAKEN_OFF = [
  "authorization", "accept-encoding", "connection", "content-length", "expect", "keep-alive", "te", "transfer-encoding",
  "upgrade",
]

const TEXT = /^(text\/|application\/(.+\+)?(json|xml|javascript)|application\/(manifest|x-ndjson)|image\/svg)/

/** A function from a request to its answer. `remade` is what streams are made of, where `fetch` carries texts alone. */
export function passage({ token, instance, within, fetch, remade, environment }) {
  return async (request) => {
    const { method, headers } = request
    const { pathname, search } = new URL(request.url)
    if (!same(headers.get("authorization") ?? "", `Bearer ${token}`)) {
      return refusal(401, "UnauthorizedError", "This server is reached through pointsman, which has its token", {
        "www-authenticate": 'Bearer realm="pointsman"',
      })
    }
    if (headers.get(HOP)?.split(",").some((id) => id.trim() === instance)) {
      return refusal(508, "LoopError", "This request has come back to the server it came from")
    }
    if (headers.has("upgrade")) {
      return refusal(501, "NotImplementedError", "Terminals cannot be reached on a server without a port of its own; start it with `opencode --port 0`")
    }
    if (remade && method === "GET" && isEventStream(pathname)) return eventStream(request, remade)
    if (remade && method === "GET" && /^\/api\/session\/[^/]+\/event$/.test(pathname)) {
      return refusal(501, "NotImplementedError", "This stream cannot be read on a server without a port of its own; use /event")
    }
    const answer = await fetch(new Request(within + pathname + search, {
      method,
      headers: passedOn(headers, instance, environment),
      body: method === "GET" || method === "HEAD" ? undefined : await request.arrayBuffer(),
    }))
    return remade ? text(answer) : handedBack(answer)
  }
}

function passedOn(headers, instance, environment) {
  const passed = new Headers(headers)
  for (const name of TAKEN_OFF) passed.delete(name)
  passed.append(HOP, instance)
  const { OPENCODE_SERVER_PASSWORD: password, OPENCODE_SERVER_USERNAME: user = "opencode" } = environment
  if (password) passed.set("authorization", `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`)
  return passed
}

function text(answer) {
  const type = answer.headers.get("content-type")
  if (!type || TEXT.test(type)) return handedBack(answer)
  return refusal(501, "NotImplementedError", `An answer of type ${type} cannot be read on a server without a port of its own`)
}

function handedBack(answer) {
  const headers = new Headers(answer.headers)
  headers.delete("content-length")
  headers.delete("transfer-encoding")
  return new Response(answer.body, { status: answer.status, headers })
}

/** An error in the shape of OpenCode's own. */
function refusal(status, name, message, headers = {}) {
  return Response.json({ name, data: { message } }, { status, headers })
}
