// Being known to pointsman: again and again, for as long as this process lives and whatever becomes of the daemon.

import { Daemon, Refused } from "./daemon.js"

/** A daemon that starts should know its terminals soon; asking costs one look at a file, or one refused connection. */
const FIRST = 250
const LONGEST = 4_000
/** Whoever refuses us will do so again, but something may be mended. */
const REFUSED = 10_000
/** A terminal that closes waits no longer than this to say so. */
const GOODBYE = 300

export class Presence {
  #read
  #server
  #screen
  #known = false
  #running = Promise.resolve()
  #over = false
  #wake = () => {}

  /** `read` gives what is in the registration file, anew each time. */
  constructor({ read, server, screen }) {
    this.#read = read
    this.#server = server
    this.#screen = screen
    screen.onChange(() => {
      if (this.#known) this.#wake()
    })
  }

  /** Returns when it was ended. Never throws. */
  run() {
    this.#running = this.#goOn()
    return this.#running
  }

  async #goOn() {
    let pause = FIRST
    while (!this.#over) {
      try {
        const daemon = new Daemon(this.#read())
        await daemon.prove()
        const description = await this.#server.describe()
        if (this.#over) return
        const report = this.#screen.report()
        const { id, heartbeat } = await daemon.register({ ...description, ...report })
        this.#known = true
        pause = FIRST
        await this.#keep(daemon, id, heartbeat, report)
        await daemon.remove(id)
      } catch (error) {
        pause = this.#known ? FIRST : after(error, pause)
      }
      this.#known = false
      await this.#sleep(pause * (0.75 + Math.random() / 2))
    }
  }

  /** Returns when it was ended. */
  async #keep(daemon, id, heartbeat, told) {
    while (!this.#over) {
      if (equal(told, this.#screen.report())) await this.#sleep(heartbeat)
      if (this.#over) return
      told = this.#screen.report()
      await daemon.heartbeat(id, told)
    }
  }

  #sleep(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#over ? 0 : milliseconds)
      timer.unref?.()
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** Says goodbye if that is quick. */
  async end() {
    this.#over = true
    this.#wake()
    const enough = new Promise((resolve) => setTimeout(resolve, GOODBYE).unref?.())
    await Promise.race([this.#running, enough])
  }
}

/** How long to wait after a failure: a daemon that stops, or has not started, is soon another. */
function after(error, pause) {
  const refused = error instanceof Refused && !(error.status >= 500)
  return refused ? REFUSED : Math.min(pause * 2, LONGEST)
}

function equal(one, other) {
  return one.viewing === other.viewing && one.viewing_since === other.viewing_since
}
