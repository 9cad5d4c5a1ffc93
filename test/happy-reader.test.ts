// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { PassThrough, Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { HappyReader, type HappyReaderOptions } from '../lib/happy-reader.ts'

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A source that says only what the test lets it say. */
function silentSource(): Readable {
  return new Readable({ read() {} })
}

/** `once` would reject, because these sources fail before they close. */
function closed(source: Readable): Promise<void> {
  return new Promise((resolve) => source.once('close', () => resolve()))
}

/** How a consumer takes what it gets; each one sees a different side of Node's streams. */
const CONSUMERS = {
  flowing(reader: HappyReader): Promise<Buffer> {
    const chunks: Buffer[] = []
    reader.on('data', (chunk: Buffer) => chunks.push(chunk))
    return once(reader, 'end').then(() => Buffer.concat(chunks))
  },
  async iterator(reader: HappyReader): Promise<Buffer> {
    const chunks: Buffer[] = []
    for await (const chunk of reader) chunks.push(chunk as Buffer)
    return Buffer.concat(chunks)
  },
  async slow(reader: HappyReader): Promise<Buffer> {
    const chunks: Buffer[] = []
    const write = (chunk: Buffer, _encoding: string, done: () => void): void => {
      chunks.push(chunk)
      setImmediate(done)
    }
    await pipeline(reader, new Writable({ highWaterMark: 1, write }))
    return Buffer.concat(chunks)
  },
}

type Cut = 'end' | 'destroy' | 'fail' | 'abort' | 'interrupt' | 'idle'

interface Scenario {
  readonly chunks: readonly Buffer[]
  readonly cut: Cut
  readonly maxBytes: number
  readonly expectedBytes: number | undefined
  readonly highWaterMark: number
  readonly consumer: keyof typeof CONSUMERS
  /** Whether the loop turns between chunks, or all of them come at once. */
  readonly turns: boolean
}

const scenarios: fc.Arbitrary<Scenario> = fc.record({
  chunks: fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes)), { maxLength: 12 }),
  cut: fc.constantFrom<Cut>('end', 'destroy', 'fail', 'abort', 'interrupt', 'idle'),
  maxBytes: fc.oneof(fc.constant(Infinity), fc.nat(300)),
  expectedBytes: fc.oneof(fc.constant(undefined), fc.nat(300)),
  highWaterMark: fc.constantFrom(1, 16, 64 * 1024),
  consumer: fc.constantFrom(...(Object.keys(CONSUMERS) as (keyof typeof CONSUMERS)[])),
  turns: fc.boolean(),
})

/** What the reader promises for a scenario, in the words of the issue: the prefix, and why. */
function expectedOutcome({ chunks, cut, maxBytes, expectedBytes = 0 }: Scenario): { body: Buffer; code: string | undefined } {
  const arrived = Buffer.concat(chunks)
  if (arrived.length > maxBytes) return { body: arrived.subarray(0, maxBytes), code: 'TOO_LARGE' }
  const codes: Record<Cut, string | undefined> = {
    end: arrived.length < expectedBytes ? 'SHORT' : undefined,
    destroy: 'ABORTED',
    fail: 'ABORTED',
    abort: 'INTERRUPTED',
    interrupt: 'INTERRUPTED',
    idle: 'IDLE',
  }
  return { body: arrived, code: codes[cut] }
}

test('however a body is split and wherever it is cut, exactly the prefix that arrived is delivered and error says why', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  await fc.assert(
    fc.asyncProperty(scenarios, async (scenario) => {
      const { chunks, cut, consumer, turns, ...options } = scenario
      const source = silentSource()
      const controller = new AbortController()
      const reader = new HappyReader(source, { ...options, idleTimeoutMs: 1000, signal: controller.signal })
      const delivered = CONSUMERS[consumer](reader)

      for (const chunk of chunks) {
        source.push(chunk)
        if (turns) await nextTurn()
      }
      if (cut === 'end') source.push(null)
      else if (cut === 'destroy') source.destroy()
      else if (cut === 'fail') source.destroy(new Error('connection reset'))
      else if (cut === 'abort') controller.abort(new Error('shutting down'))
      else if (cut === 'interrupt') reader.interrupt(new Error('taken over'))
      if (['abort', 'interrupt', 'idle'].includes(cut)) await silence(t, reader)

      const expected = expectedOutcome(scenario)
      const body = await delivered
      assert.deepEqual(body, expected.body)
      assert.equal(reader.error?.code, expected.code)
      assert.equal(reader.bytesRead, body.length)
    }),
    { numRuns: 500 },
  )
})

/** Lets time pass, step by step, until the reader has ended: what Go's synctest does by itself. */
async function silence(t: TestContext, reader: HappyReader): Promise<void> {
  for (let step = 0; step < 2000 && !reader.readableEnded; step++) {
    t.mock.timers.tick(100)
    await nextTurn()
  }
}

test('a second reader continues exactly where an interrupted one stopped', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.nat(200), fc.nat(200), async (bytes, cutAt, maxBytes) => {
      const body = Buffer.from(bytes)
      const source = silentSource()
      const first = new HappyReader(source)
      const firstPart = CONSUMERS.flowing(first)
      source.push(body.subarray(0, cutAt))
      first.interrupt()
      const before = await firstPart

      const second = new HappyReader(source, { maxBytes })
      source.push(body.subarray(cutAt))
      source.push(null)
      const after = await CONSUMERS.iterator(second)
      assert.deepEqual(Buffer.concat([before, after]), body.subarray(0, before.length + Math.min(after.length, maxBytes)))
      assert.equal(after.length, Math.min(body.length - before.length, maxBytes))
    }),
  )
})

test('error is set before the end is announced', async () => {
  const source = silentSource()
  const reader = new HappyReader(source)
  const seen: unknown[] = []
  reader.on('end', () => seen.push(reader.error?.code)).resume()
  source.push('abc')
  source.destroy(new Error('gone'))
  await once(reader, 'close')
  assert.deepEqual(seen, ['ABORTED'])
})

test('the cause of an abort and the reason of an interrupt are kept', async () => {
  const failure = new Error('gone')
  const failing = silentSource()
  const aborted = new HappyReader(failing)
  failing.destroy(failure)
  await CONSUMERS.flowing(aborted)
  assert.equal(aborted.error?.cause, failure)
  assert.equal(aborted.error?.name, 'HappyReaderError')

  const interrupted = new HappyReader(silentSource(), { signal: AbortSignal.abort(failure) })
  await CONSUMERS.flowing(interrupted)
  assert.equal(interrupted.error?.cause, failure)
})

test('the first ending wins', async () => {
  const source = silentSource()
  const reader = new HappyReader(source, { maxBytes: 2 })
  const delivered = CONSUMERS.flowing(reader)
  source.push('abc')
  await delivered
  reader.interrupt()
  source.destroy(new Error('late'))
  await closed(source)
  assert.equal(reader.error?.code, 'TOO_LARGE')
})

test('a failure while an interrupt catches up is the truer reason', async () => {
  const source = silentSource()
  const reader = new HappyReader(source)
  const delivered = CONSUMERS.flowing(reader)
  source.push('abc')
  reader.interrupt()
  source.destroy(new Error('gone'))
  assert.equal(String(await delivered), 'abc')
  assert.equal(reader.error?.code, 'ABORTED')
})

test('a body that turns out complete while an interrupt catches up is complete', async () => {
  const source = silentSource()
  const reader = new HappyReader(source, { expectedBytes: 6 })
  const delivered = CONSUMERS.flowing(reader)
  source.push('abc')
  reader.interrupt()
  reader.interrupt(new Error('a second one does nothing'))
  setImmediate(() => {
    source.push('def')
    source.push(null)
  })
  assert.equal(String(await delivered), 'abcdef')
  assert.equal(reader.error, undefined)
})

test('a body that turns out complete at the end of a long catch-up is complete', async (t) => {
  const source = silentSource()
  const reader = new HappyReader(source, { expectedBytes: 6, highWaterMark: 1 })
  reader.read(0)
  source.push('abc')
  await nextTurn()
  reader.interrupt() // and nobody reads
  const { now } = performance
  t.mock.method(performance, 'now', () => now.call(performance) + 10_000)
  source.push('def')
  source.push(null)
  assert.equal(String(await CONSUMERS.iterator(reader)), 'abcdef')
  assert.equal(reader.error, undefined)
})

test('an interrupt takes at most 16 MiB from a source that never stops', async () => {
  const chunk = Buffer.alloc(1024 * 1024)
  const source = new Readable({ read() { this.push(chunk) } })
  const reader = new HappyReader(source)
  reader.interrupt()
  await pipeline(reader, new Writable({ write: (_chunk, _encoding, done) => done() }))
  assert.equal(reader.bytesRead, 16 * 1024 * 1024)
  assert.equal(reader.error?.code, 'INTERRUPTED')
  assert.equal(source.destroyed, false)
})

test('an interrupt ends in seconds, also from a source that never falls silent and never sends much', async () => {
  const chunk = Buffer.from('a')
  const source = silentSource()
  const more = (): void => {
    source.push(chunk)
    if (reader.error === undefined) setImmediate(more)
  }
  const reader = new HappyReader(source)
  reader.resume()
  reader.interrupt()
  more()
  await once(reader, 'end')
  assert.equal(reader.error?.code, 'INTERRUPTED')
  assert.ok(reader.bytesRead > 0)
})

test('an interrupt before the first read still delivers what is there', async () => {
  const source = silentSource()
  source.push('abc')
  const reader = new HappyReader(source, { signal: AbortSignal.abort() })
  for (let turn = 0; turn < 20; turn++) await nextTurn()
  assert.equal(String(await CONSUMERS.iterator(reader)), 'abc')
})

test('an interrupt between two reads of a slow consumer still delivers what is there', async () => {
  const source = silentSource()
  const reader = new HappyReader(source, { highWaterMark: 1 })
  source.push('abc')
  await once(reader, 'readable')
  source.push('def')
  reader.interrupt()
  for (let turn = 0; turn < 20; turn++) await nextTurn()
  assert.equal(String(await CONSUMERS.iterator(reader)), 'abcdef')
})

test('a clean end of a source that says it was aborted is an abort', async () => {
  const source = Object.assign(silentSource(), { aborted: true }) // as an HTTP/2 request would
  const reader = new HappyReader(source)
  const delivered = CONSUMERS.flowing(reader)
  source.push('abc')
  source.push(null)
  assert.equal(String(await delivered), 'abc')
  assert.equal(reader.error?.code, 'ABORTED')
})

test('one byte too few is too few', async () => {
  const reader = new HappyReader(Readable.from([Buffer.from('abc')], { objectMode: false }), { expectedBytes: 4 })
  await CONSUMERS.flowing(reader)
  assert.equal(reader.error?.code, 'SHORT')
})

test('a source that failed before it was handed over delivers what Node had buffered', async () => {
  for (const error of [undefined, new Error('gone')]) {
    const source = silentSource()
    source.on('error', () => {})
    source.push('abc')
    source.destroy(error)
    await closed(source)
    const reader = new HappyReader(source)
    assert.equal(String(await CONSUMERS.iterator(reader)), 'abc')
    assert.equal(reader.error?.code, 'ABORTED')
    assert.equal(reader.error?.cause, error)
  }
})

test('a source that somebody else has consumed is an empty body, short of what was expected', async () => {
  const source = Readable.from([Buffer.from('abc')], { objectMode: false })
  await source.toArray()
  const unknown = new HappyReader(source)
  assert.equal(String(await CONSUMERS.flowing(unknown)), '')
  assert.equal(unknown.error, undefined)
  const undestroyed = new Readable({ autoDestroy: false, read() { this.push(null) } })
  await undestroyed.toArray()
  await CONSUMERS.flowing(new HappyReader(undestroyed))
  const announced = new HappyReader(source, { expectedBytes: 3 })
  await CONSUMERS.flowing(announced)
  assert.equal(announced.error?.code, 'SHORT')
})

test('a body of exactly maxBytes is not too large', async () => {
  const reader = new HappyReader(Readable.from([Buffer.from('abc')], { objectMode: false }), { maxBytes: 3 })
  assert.equal(String(await CONSUMERS.flowing(reader)), 'abc')
  assert.equal(reader.error, undefined)
})

test('a consumer that destroys the reader while it is given bytes ends it: no timer stays, and its error is the last word', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  for (const options of [{ idleTimeoutMs: 1000 }, { maxBytes: 2 }]) {
    const source = silentSource()
    const reader = new HappyReader(source, options)
    reader.on('data', () => reader.destroy())
    source.push('abc')
    await once(reader, 'close')
    t.mock.timers.tick(1000)
    assert.equal(reader.error?.code, 'INTERRUPTED')
    assert.equal(source.listenerCount('error'), 1)
  }
})

test("the boolean that a socket's 'close' brings is no cause", async () => {
  const source = silentSource()
  const reader = new HappyReader(source)
  const delivered = CONSUMERS.flowing(reader)
  source.emit('close', false)
  await delivered
  assert.deepEqual([reader.error?.code, reader.error?.cause], ['ABORTED', undefined])
})

test('many readers of one source, one after the other, leave one listener on it', () => {
  const source = silentSource()
  for (let count = 0; count < 20; count++) new HappyReader(source).destroy()
  assert.equal(source.listenerCount('error'), 1)
})

test('the source outlives the reader: it is left paused, and a late error does not crash the process', async () => {
  const source = new PassThrough()
  const reader = new HappyReader(source, { maxBytes: 1 })
  source.write('abc')
  await CONSUMERS.flowing(reader)
  assert.equal(source.destroyed, false)
  assert.equal(source.isPaused(), true)
  source.destroy(new Error('late'))
  await closed(source)
})

test('a consumer that fails leaves the source alive and lets go of it', async () => {
  const source = new PassThrough()
  const controller = new AbortController()
  const reader = new HappyReader(source, { signal: controller.signal, idleTimeoutMs: 60_000 })
  source.write('abc')
  const write = (_chunk: Buffer, _encoding: string, done: (error: Error) => void): void => done(new Error('disk full'))
  await assert.rejects(pipeline(reader, new Writable({ write })), { message: 'disk full' })
  assert.equal(source.destroyed, false)
  assert.equal(reader.error?.code, 'INTERRUPTED')
  for (const event of ['data', 'end', 'close']) assert.equal(source.listeners(event).filter((l) => l.name !== 'onend').length, 0, event)
})

test('no listener and no timer outlives any ending', async (t) => {
  const timers = t.mock.method(globalThis, 'setTimeout')
  const cleared = t.mock.method(globalThis, 'clearTimeout')
  const source = silentSource()
  const before = source.eventNames().length
  const { signal } = new AbortController()
  const removed = t.mock.method(signal, 'removeEventListener')
  const reader = new HappyReader(source, { idleTimeoutMs: 60_000, signal })
  const delivered = CONSUMERS.flowing(reader)
  source.push('abc')
  source.push(null)
  await delivered
  for (const call of timers.mock.calls) {
    assert.ok(cleared.mock.calls.some(({ arguments: [timer] }) => timer === call.result), 'a timer was left')
  }
  assert.ok(timers.mock.callCount() > 0)
  assert.equal(removed.mock.callCount(), 1)
  assert.equal(source.eventNames().filter((name) => name !== 'error').length, before)
})

test('the idle timer runs only while the source is waited for, not while the consumer is slow', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const source = silentSource()
  const reader = new HappyReader(source, { idleTimeoutMs: 1000, highWaterMark: 1 })
  source.push('abc')
  await once(reader, 'readable')
  for (let step = 0; step < 100; step++) {
    t.mock.timers.tick(100) // ten seconds in which nobody reads
    await nextTurn()
  }
  assert.equal(reader.error?.code, undefined)
  const delivered = CONSUMERS.iterator(reader)
  await nextTurn()
  t.mock.timers.tick(999)
  await nextTurn()
  assert.equal(reader.error?.code, undefined)
  t.mock.timers.tick(1)
  assert.equal(String(await delivered), 'abc')
  assert.equal(reader.error?.code, 'IDLE')
})

test('every byte restarts the idle timer', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const source = silentSource()
  const reader = new HappyReader(source, { idleTimeoutMs: 1000 })
  const delivered = CONSUMERS.flowing(reader)
  for (let second = 0; second < 10; second++) {
    await nextTurn()
    await nextTurn() // the turn in which the last byte came is over
    t.mock.timers.tick(999)
    source.push('x')
  }
  await nextTurn()
  await nextTurn()
  t.mock.timers.tick(1000)
  assert.equal(String(await delivered), 'xxxxxxxxxx')
})

test('backpressure reaches the source: a consumer that does not read bounds what is held', async () => {
  let produced = 0
  const source = new Readable({
    highWaterMark: 1000,
    read() {
      produced += 1000
      this.push(Buffer.alloc(1000))
    },
  })
  const reader = new HappyReader(source, { highWaterMark: 5000 })
  await once(reader, 'readable')
  for (let turn = 0; turn < 20; turn++) await nextTurn()
  assert.ok(produced <= 10_000, `${produced} bytes were produced for a consumer that read none`)
  reader.destroy()
})

test('a stream that is not of bytes is refused', () => {
  assert.throws(() => new HappyReader(Readable.from(['text'])), TypeError)
  assert.throws(() => new HappyReader(silentSource().setEncoding('utf8')), TypeError)
})

test('numbers out of bounds are refused, and say which', () => {
  const refused: HappyReaderOptions[] = [
    { maxBytes: -1 }, { maxBytes: 1.5 }, { maxBytes: NaN }, { maxBytes: 2 ** 53 },
    { expectedBytes: -1 }, { expectedBytes: NaN },
    { idleTimeoutMs: 0 }, { idleTimeoutMs: -1 }, { idleTimeoutMs: NaN }, { idleTimeoutMs: 2 ** 31 },
  ]
  for (const options of refused) {
    const [name = ''] = Object.keys(options)
    assert.throws(
      () => new HappyReader(silentSource(), options),
      (error: Error) => error instanceof RangeError && error.message.includes(name),
    )
  }
  assert.throws(() => new HappyReader(silentSource(), { idleTimeoutMs: '1000' as never }), TypeError)
})
