// The web UI in Chromium: opened, typed at and read, one page.
import { chromium } from 'playwright-core'
import { answerLines } from './lines.mjs'

// The first argument is the program; the second how many milliseconds anything may take.
const [executablePath, patience] = process.argv.slice(2)
const BETWEEN_TRIES = 2_000

const browser = await chromium.launch({
  executablePath,
  headless: true,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
})
const page = await browser.newPage()
page.setDefaultTimeout(Number(patience))
// What a browser has kept would look as if the server had answered.
const developer = await page.context().newCDPSession(page)
await developer.send('Network.setCacheDisabled', { cacheDisabled: true })

const isStream = (response) => new URL(response.url()).pathname === '/global/event'

let assets = []
let streams = 0
page.on('response', (response) => {
  if (isStream(response)) streams += 1
  if (new URL(response.url()).pathname.startsWith('/assets/')) {
    assets.push({ status: response.status(), server: response.headers()['x-pointsman-server'] ?? '' })
  }
})
page.on('console', (message) => console.error(`console ${message.type()}: ${message.text()}`))
page.on('pageerror', (error) => console.error(`page error: ${error}`))

const isTurn = (request) =>
  request.method() === 'POST' && /\/session\/[^/]+\/(message|prompt_async)$/.test(new URL(request.url()).pathname)

/** Fails with what stands on the page instead. */
const telling = async (action) => {
  try {
    return await action
  } catch (error) {
    const fields = await page.locator('input, textarea').evaluateAll((all) => all.map((field) => field.value))
    const shown = [await page.locator('body').innerText(), ...fields].join('\n')
    throw new Error(`${error}\non ${page.url()}:\n${shown}`)
  }
}

await answerLines({
  open: async ({ url }) => {
    assets = []
    await telling(page.goto(url))
  },
  reload: async () => {
    assets = []
    await telling(page.reload())
  },
  /** Waits until the text stands on the page. */
  see: async ({ text }) => telling(page.getByText(text).first().waitFor()),
  /** Types a prompt and sends it off. */
  prompt: async ({ text }) =>
    telling(
      (async () => {
        const box = page.locator('[data-component="prompt-input"]')
        await box.click()
        await box.pressSequentially(text)
        await page.locator('[data-action="prompt-model"]').waitFor()
        // Before the page knows its agents and models it refuses to send, and says so.
        const until = Date.now() + Number(patience)
        for (let sent = false; !sent; ) {
          const turn = page.waitForRequest(isTurn, { timeout: BETWEEN_TRIES })
          await page.keyboard.press('Enter')
          sent = await turn.then(
            () => true,
            () => false,
          )
          if (!sent && Date.now() > until) throw new Error('the page sends no turn')
        }
      })(),
    ),
  /** How many streams of events the page has opened so far. */
  streams: async () => streams,
  /** Waits until it has opened more than so many. */
  stream: async ({ after }) => {
    if (streams <= after) await telling(page.waitForResponse(isStream))
  },
  /** Which servers gave the assets of the page, and whether they could. */
  assets: async () => assets,
})
await browser.close()
