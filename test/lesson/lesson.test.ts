// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ROOT } from '../support/examples.ts'
import { WireClient } from '../support/wire.ts'
import { startStep, type Step } from './step.ts'

const STEPS = ['1-naive', '2-happy-reader', '3-check-after', '4-delayed-signal', '5-shutdown'] as const
/** How many lines each step changes, removed and added, its title apart. */
const CHANGED_LINES = [4, 1, 5, 11]

const FOLDER = import.meta.dirname
const PAGE = join(FOLDER, 'README.md')
const KIB = 1024
const PART_BYTES = 256 * KIB
/** What is uploaded: four parts. Where it is cut amid the body, two and a half were sent. */
const UPLOAD = randomBytes(4 * PART_BYTES)
const AMID_BYTES = 2.5 * PART_BYTES

/** How an upload ended. */
interface Outcome {
  readonly sentBytes: number
  readonly savedBytes: number
  readonly isComplete: boolean
}

/** What befalls the uploads, by their names, in the order of the table's columns. */
const FAULTS: Readonly<Record<string, (step: Step, name: string) => Promise<Outcome>>> = {
  async FIN(step, name) {
    const client = await sendAmid(step, name)
    client.destroy()
    await ended(step, name)
    return outcomeOf(step, name, AMID_BYTES)
  },
  async RST(step, name) {
    const client = await sendAmid(step, name)
    client.socket.resetAndDestroy()
    await ended(step, name)
    return outcomeOf(step, name, AMID_BYTES)
  },
  async gone(step, name) {
    const { client, sentBytes } = await send(step, name, UPLOAD.length)
    await passParts(step, name, 3)
    await step.until(({ heldParts, receivedBytes }) => heldParts === 1 && receivedBytes === sentBytes)
    client.destroy()
    await step.until(({ isClosed }) => isClosed)
    step.passPart() // too late, if it has been given up
    await ended(step, name)
    return outcomeOf(step, name, UPLOAD.length)
  },
  async SIGTERM(step, name) {
    const client = await sendAmid(step, name)
    step.process.kill('SIGTERM')
    const answer = await client.response().catch(() => undefined)
    const isLast = step.name === STEPS.at(-1)
    assert.deepEqual(await step.exit, isLast ? { code: 0, signal: null } : { code: null, signal: 'SIGTERM' })
    assert.equal(answer?.status, isLast ? 503 : undefined)
    return outcomeOf(step, name, AMID_BYTES)
  },
}

/** Begins an upload of which `bytes` bytes come; not all may have been received yet. */
async function send(step: Step, name: string, bytes: number): Promise<{ client: WireClient; sentBytes: number }> {
  const client = await WireClient.connect(step.port)
  const head = `PUT /${name} HTTP/1.1\r\nHost: test\r\nContent-Length: ${UPLOAD.length}\r\n\r\n`
  void client.send(Buffer.concat([Buffer.from(head), UPLOAD.subarray(0, bytes)]))
  return { client, sentBytes: head.length + bytes }
}

/** Lets the first parts of an upload pass, one after the other, until they are saved. */
async function passParts(step: Step, name: string, parts: number): Promise<void> {
  for (let passed = 0; passed < parts; passed++) {
    await step.until(({ heldParts }) => heldParts === 1)
    step.passPart()
    await step.until(() => savedBytesOf(step, name) === (passed + 1) * PART_BYTES)
  }
}

/** Sends two and a half parts; then two are saved, and the half is in the process. */
async function sendAmid(step: Step, name: string): Promise<WireClient> {
  const { client, sentBytes } = await send(step, name, AMID_BYTES)
  await passParts(step, name, 2)
  await step.until(({ receivedBytes }) => receivedBytes === sentBytes)
  return client
}

/** Waits until the server has said how an upload ended. */
function ended(step: Step, name: string): Promise<void> {
  return step.printed(new RegExp(`^${name}: (?!\\d+ KiB saved\\n).*\\n`, 'm'))
}

function savedBytesOf(step: Step, name: string): number {
  return statSync(join(step.folder, `${name}.incomplete`), { throwIfNoEntry: false })?.size ?? 0
}

function outcomeOf({ folder }: Step, name: string, sentBytes: number): Outcome {
  const isComplete = existsSync(join(folder, name))
  const saved = readFileSync(join(folder, isComplete ? name : `${name}.incomplete`))
  assert.ok(saved.equals(UPLOAD.subarray(0, saved.length)), `what is saved of ${name} is not what was sent`)
  return { sentBytes, savedBytes: saved.length, isComplete }
}

/** The cells of a step's row: KiB saved of KiB received, bold where that is all; and what had a part called the whole. */
function cellsOf(outcomes: ReadonlyMap<string, Outcome>): string[] {
  const cells = Array.from(outcomes.values(), ({ sentBytes, savedBytes }) => {
    const cell = `${savedBytes / KIB} of ${sentBytes / KIB}`
    return savedBytes === sentBytes ? `**${cell}**` : cell
  })
  const wrong = [...outcomes].filter(([, { savedBytes, isComplete }]) => isComplete && savedBytes < UPLOAD.length)
  return [...cells, wrong.length > 0 ? `**${wrong.map(([name]) => name).join(', ')}**` : 'never']
}

/** The table of a document: its heading by 'step', its rows by the names of the steps, without what these are about. */
function tableIn(document: string): Map<string, string[]> {
  const rows = readFileSync(document, 'utf8').matchAll(/^\| (?:(step)|\[(\d-[\w-]+)\]\([^)]*\)) \| [^|]+ \| (.*) \|$/gm)
  return new Map(Array.from(rows, ([, heading, step, cells]) => [(heading ?? step)!, cells!.split(' | ')]))
}

/** The lines that a step changes, its title apart, as `diff` shows them. */
function changesBetween(before: string, after: string): string[] {
  const paths = [before, after].map((name) => join(FOLDER, `${name}.ts`))
  const options = ['--no-index', '--no-ext-diff', '--no-color', '--unified=0']
  const { stdout } = spawnSync('git', ['diff', ...options, ...paths], { encoding: 'utf8' })
  return stdout.split('\n').filter((line) => /^[+-](?![+-]{2} |\/\*\* Step)/.test(line))
}

for (const name of STEPS) {
  test(`${name} saves what its row of the lesson says, and what nothing disturbs it saves whole`, async (t) => {
    const step = await startStep(t, name)
    const { client } = await send(step, 'undisturbed', UPLOAD.length)
    await passParts(step, 'undisturbed', 3)
    await step.until(({ heldParts }) => heldParts === 1)
    step.passPart()
    assert.equal((await client.response()).status, 201)
    client.destroy()
    const { savedBytes, isComplete } = outcomeOf(step, 'undisturbed', UPLOAD.length)
    assert.deepEqual({ savedBytes, isComplete }, { savedBytes: UPLOAD.length, isComplete: true })

    const outcomes = new Map<string, Outcome>()
    for (const [fault, befall] of Object.entries(FAULTS)) outcomes.set(fault, await befall(step, fault))
    assert.deepEqual(tableIn(PAGE).get(name), cellsOf(outcomes))
    assert.equal(outcomes.get('gone')?.isComplete, name >= '4')
  })
}

test('the table names the faults that were measured, and the README shows the same one', () => {
  const table = tableIn(PAGE)
  assert.deepEqual([...table.keys()], ['step', ...STEPS])
  assert.deepEqual(table.get('step')?.slice(0, -1), Object.keys(FAULTS))
  assert.deepEqual(tableIn(join(ROOT, 'README.md')), table)
})

test('each step has at most 40 lines, of which few are new, and the lesson shows these', () => {
  const shown = Array.from(readFileSync(PAGE, 'utf8').matchAll(/^```diff\n([^]*?)\n```$/gm), ([, lines]) => lines!.split('\n'))
  const changes = STEPS.slice(1).map((name, index) => changesBetween(STEPS[index]!, name))
  assert.deepEqual(shown, changes)
  assert.deepEqual(changes.map(({ length }) => length), CHANGED_LINES)
  for (const name of STEPS) assert.ok(readFileSync(join(FOLDER, `${name}.ts`), 'utf8').trimEnd().split('\n').length <= 40, name)
})
