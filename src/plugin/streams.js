// OpenCode's event streams, made anew from what its terminal hears.
//
// Greeting and heartbeat are of our own making, as each stream's are there.

import crypto from "node:crypto"

const HEARTBEAT = 10_000
/** A reader that is this many events behind is cut off, and reads the state anew as after any cut. */
const MOST_BEHIND = 8_192

/** What a stream of the second interface leaves out. */
const FIRST_ONLY = /^(tui\.|session\.(status|idle|diff)$|permission\.(asked|replied)$|server\.instance\.disposed$)/

const wire = {
  "/global/event": (payload, at) => JSON.stringify({ directory: at.directory, workspace: at.workspace, payload }),
  "/event": (payload) => JSON.stringify(payload),
  "/api/event": ({ id, type, properties }, { directory }) =>
    JSON.stringify({ id, type, location: directory && directory !== "global" ? { directory } : undefined, data: properties }),
}

/** Whether there is an event stream at this path. */
export function isEventStream(pathname) {
  return Object.hasOwn(wire, pathname)
}

/** Whether a stream carries an event, and in which words: its `data`, or `null`. */
export function said(pathname, wanted, payload, at) {
  if (pathname === "/event" && at.directory !== wanted) return null
  if (pathname === "/api/event" && FIRST_ONLY.test(payload.type)) return null
  return wire[pathname](payload, at)
}

/** The answer that is an event stream. `hear(listener)` gives the way to hear no more. */
export function eventStream(request, { hear, directory }) {
  const { pathname, searchParams } = new URL(request.url)
  const wanted = named(request.headers, searchParams) ?? directory()
  let close = () => {}
  const body = new ReadableStream(
    {
      start(stream) {
        const text = new TextEncoder()
        const releases = []
        close = () => {
          for (const release of releases.splice(0)) release()
        }
        const write = (data) => {
          if (stream.desiredSize <= 0) {
            close()
            stream.close()
            return
          }
          stream.enqueue(text.encode(data))
        }
        const own = (type) => write(`data: ${wire[pathname]({ id: eventId(), type, properties: {} }, {})}\n\n`)
        own("server.connected")
        releases.push(hear((payload, at) => {
          const data = said(pathname, wanted, payload, at)
          if (data !== null) write(`data: ${data}\n\n`)
        }))
        const beat = pathname === "/api/event" ? () => write(": heartbeat\n\n") : () => own("server.heartbeat")
        const timer = setInterval(beat, HEARTBEAT)
        timer.unref?.()
        releases.push(() => clearInterval(timer))
      },
      cancel: () => close(),
    },
    { highWaterMark: MOST_BEHIND },
  )
  return new Response(body, {
    headers: { "content-type": "text/event-stream", "cache-control": "no-cache, no-transform", "x-accel-buffering": "no" },
  })
}

/** The directory a request names. */
function named(headers, query) {
  const text = query.get("directory") ?? query.get("location[directory]") ?? headers.get("x-opencode-directory")
  if (!text) return undefined
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/** As OpenCode makes them: twelve hexadecimal digits of time, fourteen drawn at random. */
function eventId() {
  const time = (BigInt(Date.now()) * 0x1000n) & 0xffff_ffff_ffffn
  const drawn = Array.from(crypto.randomBytes(14), (byte) => ALPHABET[byte % ALPHABET.length])
  return `evt_${time.toString(16).padStart(12, "0")}${drawn.join("")}`
}
