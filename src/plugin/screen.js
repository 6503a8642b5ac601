// Which session this terminal shows, and since when its user means that one.

/** What a person sends from a terminal to the session on it. */
const SENDING = /\/session\/(ses_[^/?]+)\/(message|prompt_async|command|shell)$/

export class Screen {
  #api
  #now
  #viewing = undefined
  #since = 0
  #changed = () => {}
  #release = []

  constructor(api, now = Date.now) {
    this.#api = api
    this.#now = now
  }

  /** Follows the screen until it is closed. Awaits modules of the host, and nothing else. */
  async watch() {
    const { createEffect, createRoot } = await import("solid-js")
    createRoot((dispose) => {
      this.#release.push(dispose)
      createEffect(() => {
        const { name, params } = this.#api.route.current
        this.show(name === "session" && typeof params?.sessionID === "string" ? params.sessionID : null)
      })
    })
    const requests = this.#api.client.client.interceptors.request
    const sent = (request) => {
      this.send(request.method, request.url)
      return request
    }
    requests.use(sent)
    this.#release.push(() => requests.eject(sent))
  }

  /** The screen moved, or stayed where it was. */
  show(session) {
    if (session === this.#viewing) return
    this.#viewing = session
    this.#touch()
  }

  /** The terminal itself sends a request. */
  send(method, url) {
    const session = method === "POST" ? SENDING.exec(url.split("?")[0])?.[1] : undefined
    if (session !== undefined && session === this.#viewing) this.#touch()
  }

  #touch() {
    this.#since = this.#now()
    this.#changed()
  }

  /** As pointsman is told, nothing before anything is seen. The time is that of the move or of the last sending. */
  report() {
    if (this.#viewing === undefined) return {}
    return { viewing: this.#viewing, viewing_since: this.#since }
  }

  /** Calls back at each change; one at a time. */
  onChange(callback) {
    this.#changed = callback
  }

  close() {
    for (const release of this.#release.splice(0)) release()
  }
}
