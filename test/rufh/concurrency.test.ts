// SPDX-License-Identifier: MIT

/** Checklist R.6: cancellation, and requests for one upload that meet. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { LockFiles } from '../../lib/lock-files/lock-files.ts'
import { locationOf } from '../support/address-of.ts'
import { Gate } from '../support/gate.ts'
import { pattern } from '../support/pattern.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf, stored } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { watched, WatchedStore } from '../support/watched-store.ts'
import {
  append,
  ask,
  begin,
  head,
  I8,
  make,
  offsetOf,
  overBoth,
  serve,
  type Answer,
  type Exchange,
  type Site,
  type Version,
} from './support.ts'
import { appendLarge, assertPlain, beginAppend, problemOf } from './watched.ts'

const ROUNDS = 50

for (const [name, headers, content] of [
  ['fresh', {}, ''],
  ['partial', { 'Upload-Length': '10' }, 'hello'],
  ['whole, but not complete', {}, 'hello'],
] as const) {
  overBoth(`R79 · an upload that is ${name} is cancelled: its data are removed, and it is unknown from then on`, async (t, version) => {
    const site = await serve(t, version)
    const path = await make(site, headers, content)
    const answer = await ask(site, 'DELETE', path, I8)
    assert.equal(answer.status, 204)
    assert.equal(answer.body, '')
    assert.equal(snapshot(site.folder).size, 0)
    await assertUnknown(site, path)
    assert.equal(snapshot(site.folder).size, 0)
  })
}

overBoth('R79 · cancelling takes one upload and leaves the others', async (t, version) => {
  const site = await serve(t, version)
  const kept = await make(site, {}, 'hello')
  const before = snapshot(site.folder)
  await ask(site, 'DELETE', await make(site, {}, 'world'), I8)
  assert.deepEqual(snapshot(site.folder), before)
  assert.equal(await offsetOf(site, kept), 5)
})

for (const holder of ['append', 'creation'] as const) {
  overBoth(`R80 · cancelling ends the ${holder} that has stalled, and nothing is left of the upload, whatever that still sends`, async (t, version) => {
    const site = await serve(t, version, { store: watched })
    const { path, exchange } = await hold(site, holder, pattern(1000), 2000)
    assert.equal((await ask(site, 'DELETE', path, I8)).status, 204)
    assert.equal((await exchange.answer).status, 409)
    await exchange.write(pattern(1000))
    exchange.end()
    await exchange.closed
    await site.settled()
    assert.equal(snapshot(site.folder).size, 0)
    await assertUnknown(site, path)
  })

  overBoth(`R80 · cancelling ends the ${holder} that goes on sending, and nothing is left of the upload`, async (t, version) => {
    const site = await serve(t, version, { store: watched })
    const piece = pattern(64 * 1024)
    const { path, exchange } = await hold(site, holder, piece, 'unknown')
    let over = false
    const ended = exchange.answer.finally(() => (over = true))
    const sending = (async () => {
      while (!over) {
        await exchange.write(piece)
        await new Promise(setImmediate) // nobody waits to write to a stream that has closed
      }
    })()
    await site.store.arrived(10 * piece.length)

    assert.equal((await ask(site, 'DELETE', path, I8)).status, 204)
    assert.equal((await ended).status, 409)
    exchange.cut('rst') // Node's client of HTTP/2 may never learn what became of a write to a stream that the server has closed
    await sending
    await site.settled()
    assert.equal(snapshot(site.folder).size, 0)
    await assertUnknown(site, path)
  })
}

overBoth('R80 · an upload is removed when the append that was in progress has stored what it had, and not before', async (t, version) => {
  const offsets: number[] = []
  const site = await serve(t, version, { onTerminate: ({ offset }) => void offsets.push(offset), store: watched })
  const { path, exchange } = await hold(site, 'append', pattern(300_000), 400_000)
  assert.equal((await ask(site, 'DELETE', path, I8)).status, 204)
  assert.deepEqual(offsets, [300_000])
  exchange.cut('fin')
})

overBoth('R81 · an address that is almost that of an upload is unknown, not somewhere else, and cancels nothing', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'hello')
  const before = snapshot(site.folder)
  const id = path.slice('/files/'.length)
  const others = [
    `${path}/`,
    `/files//${id}`,
    `//files/${id}`,
    `/FILES/${id}`,
    `/files/%${id.charCodeAt(0).toString(16)}${id.slice(1)}`,
    `/files/./${id}`,
    `/files/../files/${id}`,
    `${path}.info`,
  ]
  for (const other of others) assert.equal((await ask(site, 'DELETE', other, I8)).status, 404, other)
  assert.deepEqual(snapshot(site.folder), before)
  assert.equal((await ask(site, 'DELETE', `${path}?a=b`, I8)).status, 204, 'a query names nothing else')
  assert.equal(snapshot(site.folder).size, 0)
})

overBoth('R82 · an upload that does not exist cannot be cancelled', async (t, version) => {
  const site = await serve(t, version)
  const answer = await ask(site, 'DELETE', '/files/unknown', I8)
  assert.equal(answer.status, 404)
  assertPlain(answer)
  assert.equal(snapshot(site.folder).size, 0)
})

overBoth('R82 · an upload that is complete, or was refused, is removed with its result', async (t, version) => {
  for (const refusal of [undefined, Object.assign(new Error('no'), { status: 422 })]) {
    const states: string[] = []
    const site = await serve(t, version, {
      onFinish: () => { if (refusal) throw refusal },
      onTerminate: ({ state }) => void states.push(state),
    })
    const path = await make(site, {}, 'hello')
    assert.equal((await append(site, path, 5, true, 'world')).headers.get('upload-complete'), '?1')
    assert.equal((await ask(site, 'DELETE', path, I8)).status, 204)
    assert.deepEqual(states, [refusal ? 'rejected' : 'finished'])
    assert.equal(snapshot(site.folder).size, 0)
    await assertUnknown(site, path)
  }
})

overBoth('R83 · of two appends at the same offset at once at most one is stored, and never a mix', async (t, version) => {
  const site = await serve(t, version)
  let successes = 0
  for (let round = 0; round < ROUNDS; round++) {
    const path = await make(site)
    const answers = await Promise.all(['a', 'b'].map((letter) => append(site, path, 0, false, letter.repeat(4000))))
    successes += assertAtMostOne(answers, 204, site, path, 4000)
    assert.equal(await offsetOf(site, path), contentOf(site, path).length)
  }
  assert.ok(successes > 0)
})

overBoth('R83 · of two last appends with content at once at most one completes the upload, which is processed once', async (t, version) => {
  const processed = new Map<string, number>()
  const site = await serve(t, version, { onFinish: ({ id }) => void processed.set(id, (processed.get(id) ?? 0) + 1) })
  let successes = 0
  for (let round = 0; round < ROUNDS; round++) {
    const path = await make(site)
    const answers = await Promise.all(['a', 'b'].map((letter) => append(site, path, 0, true, letter.repeat(4000))))
    const success = assertAtMostOne(answers, 200, site, path, 4000)
    successes += success
    assert.equal(processed.get(path.slice('/files/'.length)) ?? 0, success)
    assert.equal((await head(site, path)).headers.get('upload-complete'), `?${success}`)
  }
  assert.ok(successes > 0)
})

overBoth('R83 · of two large appends at once what is stored is a beginning of one of them, and HEAD reports its size', async (t, version) => {
  const site = await serve(t, version)
  const size = 4 * 1024 * 1024
  for (let round = 0; round < 5; round++) {
    const path = await make(site)
    const answers = await Promise.all(['a', 'b'].map((letter) => appendLarge(site, path, 0, false, letter.repeat(size))))
    assertAtMostOne(answers, 204, site, path, size)
    assert.equal(await offsetOf(site, path), contentOf(site, path).length)
  }
})

overBoth('R83 · clients that repeat the end of an upload at once are all told the same, and it is processed once', async (t, version) => {
  let runs = 0
  const site = await serve(t, version, { onFinish: () => ({ status: 201, body: `run ${++runs}` }) })
  const path = await make(site, {}, 'helloworld')
  const answers = await Promise.all(Array.from({ length: 10 }, () => append(site, path, 10, true)))
  for (const { status, headers, body } of answers) assert.deepEqual([status, headers.get('upload-complete'), body], [201, '?1', 'run 1\n'])
  assert.equal(runs, 1)
})

for (const size of [4000, 300_000]) {
  overBoth(`R83 · an upload that is appended to (${size} bytes) and cancelled at once is gone as a whole`, async (t, version) => {
    const site = await serve(t, version)
    const content = pattern(size)
    for (let round = 0; round < ROUNDS; round++) {
      const path = await make(site)
      const requests = [() => appendLarge(site, path, 0, round % 4 > 1, content), () => ask(site, 'DELETE', path, I8)]
      const [first, second] = (await Promise.all((round % 2 === 0 ? requests : requests.toReversed()).map((send) => send()))) as [
        Answer,
        Answer,
      ]
      const [appended, cancelled] = round % 2 === 0 ? [first, second] : [second, first]
      assert.equal(cancelled.status, 204)
      assert.ok([200, 204, 404, 409].includes(appended.status), String(appended.status))
      await site.settled()
      assert.equal(snapshot(site.folder).size, 0)
      assert.equal((await head(site, path)).status, 404)
    }
  })
}

overBoth('R83 · of ten cancellations at once one removes the upload', async (t, version) => {
  let runs = 0
  const site = await serve(t, version, { onTerminate: () => void runs++ })
  const path = await make(site, {}, 'hello')
  const answers = await Promise.all(Array.from({ length: 10 }, () => ask(site, 'DELETE', path, I8)))
  assert.deepEqual(answers.map(({ status }) => status).sort(), [204, ...Array.from({ length: 9 }, () => 404)])
  assert.equal(runs, 1)
  assert.equal(snapshot(site.folder).size, 0)
})

for (const holder of ['append', 'creation'] as const) {
  const row = holder === 'append' ? 'R84' : 'R87'

  overBoth(`${row} · the offset that HEAD reports while the ${holder} is open is not outdated by what that sends later`, async (t, version) => {
    let runs = 0
    const site = await serve(t, version, { onFinish: () => void runs++, store: watched })
    const source = pattern(300_000)
    const { path, exchange } = await hold(site, holder, source.subarray(0, 100_000), source.length)

    const found = await head(site, path)
    assert.equal(found.status, 204)
    assert.equal(found.headers.get('upload-offset'), '100000')
    assert.equal(found.headers.get('upload-complete'), '?0')
    assert.equal(found.headers.get('upload-length'), '300000')
    await exchange.write(Buffer.alloc(50_000, 'x'))

    const next = await append(site, path, 100_000, false, source.subarray(100_000, 200_000))
    assert.equal(next.status, 204)
    assert.equal(next.headers.get('upload-offset'), '200000')
    await exchange.write(Buffer.alloc(150_000, 'x'))
    exchange.end() // as if all were there
    await exchange.closed
    await site.settled()

    assert.equal(runs, 0)
    assert.equal(await offsetOf(site, path), 200_000)
    assert.equal((await append(site, path, 200_000, true, source.subarray(200_000))).status, 200)
    assert.equal(runs, 1)
    assert.ok(contentOf(site, path).equals(source))
  })

  overBoth(`${row} · what the ${holder} sends while HEAD is being answered comes too late as well`, async (t, version) => {
    const gate = new Gate()
    const site = await serveGated(t, version)
    const source = pattern(2000)
    const { path, exchange } = await hold(site, holder, source.subarray(0, 1000), source.length)

    site.store.gate = gate
    const asked = head(site, path)
    await gate.arrived // HEAD knows what it is going to tell
    await exchange.write(Buffer.alloc(500, 'x'))
    assert.equal((await exchange.answer).status, 409)
    await exchange.write(Buffer.alloc(500, 'x'))
    gate.open()
    assert.equal((await asked).headers.get('upload-offset'), '1000')
    assert.equal((await append(site, path, 1000, true, source.subarray(1000))).status, 200)
    exchange.end()
    await exchange.closed
    await site.settled()
    assert.ok(contentOf(site, path).equals(source))
  })
}

overBoth('R84 · the offset that HEAD reports in one process is not outdated by the append that is open in another one', async (t, version) => {
  const folder = temporaryFolder(t)
  const [one, other] = await Promise.all([0, 1].map(async () => {
    const locker = await LockFiles.open(join(folder, '.locks'))
    t.after(() => locker.close())
    return serve(t, version, { folder, files: { shared: true }, locker, store: watched })
  })) as [WatchedSite, WatchedSite]
  const source = pattern(3000)
  const { path, exchange } = await hold(one, 'append', source.subarray(0, 1000), source.length)

  assert.equal(await offsetOf(other, path), 1000)
  assert.equal((await exchange.answer).status, 409)
  await exchange.write(Buffer.alloc(2000, 'x'))
  assert.equal((await append(other, path, 1000, true, source.subarray(1000))).status, 200)
  exchange.end()
  await exchange.closed
  await one.settled()
  assert.ok(contentOf(one, path).equals(source))
  assert.equal((await head(one, path)).headers.get('upload-complete'), '?1')
})

overBoth('R85 · an append at the offset that HEAD has just reported is always accepted, 200 times under load', async (t, version) => {
  const site = await serve(t, version)
  const rounds = async (lane: number): Promise<void> => {
    const source = pattern(ROUNDS * 50_100, lane + 1)
    const path = await make(site)
    let offset = 0
    for (let round = 0; round < ROUNDS; round++) {
      const size = 1 + (((round + 1) * (lane + 1) * 7919) % 50_000)
      const exchange = await beginAppend(site, path, offset, false, 'unknown')
      const sending = exchange.write(source.subarray(offset, offset + size))
      await stored(site, path, offset + 1) // it holds the upload now, and more of it may be on its way

      const told = await offsetOf(site, path)
      assert.ok(told > offset && told <= offset + size, `${told} behind ${offset}, of ${size}`)
      const next = await append(site, path, told, false, source.subarray(told, told + 100))
      assert.equal(next.status, 204)
      assert.equal(next.headers.get('upload-offset'), String(told + 100))
      offset = told + 100
      exchange.cut('rst')
      await sending
    }
    assert.ok(contentOf(site, path).equals(source.subarray(0, offset)))
  }
  await Promise.all([0, 1, 2, 3].map(rounds))
})

for (const holder of ['append', 'creation'] as const) {
  const row = holder === 'append' ? 'R86' : 'R87'

  for (const [method, send, status, rest] of [
    ['HEAD', head, 204, ''],
    ['GET', (site: Site, path: string) => ask(site, 'GET', path, I8), 204, ''],
    ['PATCH', (site: Site, path: string) => append(site, path, 1000, false, 'world'), 204, 'world'],
    ['PATCH that is the last one', (site: Site, path: string) => append(site, path, 1000, true, pattern(1000)), 200, pattern(1000)],
    ['PATCH at another offset', (site: Site, path: string) => append(site, path, 0, false, 'world'), 409, ''],
  ] as const) {
    overBoth(`${row} · ${method} is answered while the ${holder} is open, which is ended and told what is stored of it`, async (t, version) => {
      const site = await serve(t, version, { store: watched })
      const { path, exchange } = await hold(site, holder, pattern(1000), 2000)
      const answer = await send(site, path)
      assert.equal(answer.status, status)
      if (status === 409) assert.equal(problemOf(answer)['expected-offset'], 1000)

      const ended = await exchange.answer
      assert.equal(ended.status, 409)
      assert.equal(ended.headers.get('upload-offset'), '1000')
      assert.equal(ended.headers.get('upload-complete'), '?0')
      assert.equal(ended.headers.get('location'), holder === 'creation' ? path : undefined)
      if (version === 'HTTP/1.1') assert.equal(ended.headers.get('connection'), 'close')
      assertPlain(ended)

      await exchange.write(Buffer.alloc(1000, 'x'))
      exchange.end()
      await exchange.closed
      await site.settled()
      assert.ok(contentOf(site, path).equals(Buffer.concat([pattern(1000), Buffer.from(rest as string)])))
    })
  }
}

overBoth('R86, R87 · requests that were ended are closed by the server, even if their clients say nothing any more', async (t, version) => {
  await Promise.all((['append', 'creation'] as const).flatMap((holder) => ['HEAD', 'PATCH', 'DELETE'].map(async (method) => {
    const site = await serve(t, version, { store: watched })
    const { path, exchange } = await hold(site, holder, pattern(1000), 2000)
    const answer = method === 'PATCH' ? await append(site, path, 1000, false, 'world') : await ask(site, method, path, I8)
    assert.equal(answer.status, 204)
    assert.equal((await exchange.answer).status, 409)
    await exchange.closed
    await site.settled()
  })))
})

overBoth('R86 · of appends that take over from each other each stores what it brought, in order', async (t, version) => {
  const site = await serve(t, version, { store: watched })
  const source = pattern(20_000)
  const path = await make(site)
  const exchanges: Exchange[] = []
  for (let offset = 0; offset < source.length; offset += 1000) {
    exchanges.push(await beginAppend(site, path, offset, true, source.length - offset, source.subarray(offset, offset + 1000)))
    await site.store.arrived(offset + 1000)
  }
  const last = exchanges.pop() ?? assert.fail('no append')
  for (const [n, exchange] of exchanges.entries()) {
    const answer = await exchange.answer
    assert.equal(answer.status, 409)
    assert.equal(answer.headers.get('upload-offset'), String((n + 1) * 1000))
    exchange.cut('fin')
  }
  last.end()
  assert.equal((await last.answer).status, 200)
  assert.ok(contentOf(site, path).equals(source))
})

type WatchedSite = Site<WatchedStore>

/** Begins a request that brings `content` of `length` bytes, waits until all that was sent has arrived, and leaves it at that. */
async function hold(
  site: WatchedSite, holder: 'append' | 'creation', content: Buffer, length: number | 'unknown',
): Promise<{ readonly path: string; readonly exchange: Exchange }> {
  if (holder === 'append') {
    const path = await make(site)
    const exchange = await beginAppend(site, path, 0, true, length, content)
    await site.store.arrived(content.length)
    return { path, exchange }
  }
  const exchange = await begin(site, { method: 'POST', path: '/files/', headers: { ...I8, 'Upload-Complete': '?1' } }, length)
  const path = locationOf(await exchange.interim())
  await exchange.write(content)
  await site.store.arrived(content.length)
  return { path, exchange }
}

/** A store at which whoever next makes sure of an offset, so as to tell it, waits at the gate that a test has set. */
class GatedStore extends WatchedStore {
  gate: Gate | undefined

  async flush(): Promise<void> {
    const { gate } = this
    this.gate = undefined
    await gate?.pass()
  }
}

function serveGated(t: TestContext, version: Version): Promise<Site<GatedStore>> {
  return serve(t, version, { store: (files) => new GatedStore(files) })
}

/** Of appends of `size` times one letter at most one succeeded, and what is stored is of one of them. Returns how many did. */
function assertAtMostOne(answers: readonly Answer[], success: number, site: Site, path: string, size: number): 0 | 1 {
  const content = contentOf(site, path).toString('latin1')
  const winners = answers.filter(({ status }) => status === success)
  const refused = answers.filter(({ status }) => status === 409)
  assert.equal(winners.length + refused.length, answers.length, answers.map(({ status }) => status).join())
  assert.ok(winners.length <= 1, `${winners.length} were stored`)
  for (const { headers } of refused) assert.equal(headers.get('upload-complete'), '?0')
  const [letter = ''] = content
  assert.ok(['', 'a', 'b'].includes(letter))
  assert.equal(content, letter.repeat(content.length))
  if (winners.length === 0) return 0
  assert.equal(content.length, size)
  assert.equal(letter, answers[0]?.status === success ? 'a' : 'b')
  return 1
}

async function assertUnknown(site: Site, path: string): Promise<void> {
  const found = await head(site, path)
  assert.equal(found.status, 404)
  assert.equal(found.headers.has('upload-offset'), false)
  assert.equal((await append(site, path, 0, false, 'hello')).status, 404)
  assert.equal((await append(site, path, 0, true)).status, 404)
  assert.equal((await ask(site, 'DELETE', path, I8)).status, 404)
}
