// SPDX-License-Identifier: MIT

/** Checklist R.5: appends, and what is told of them while they come and when they end. */

import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { test } from 'node:test'
import type { FinishAnswer } from '../../lib/upload/hooks.ts'
import type { AppendOptions, Upload } from '../../lib/upload/types.ts'
import { locationOf } from '../support/address-of.ts'
import { pattern } from '../support/pattern.ts'
import { startProgram } from '../support/program.ts'
import { snapshot } from '../support/snapshot.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { contentOf, stored } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { watched } from '../support/watched-store.ts'
import { request, WireClient, withBody } from '../support/wire.ts'
import {
  append,
  ask,
  begin,
  head,
  I8,
  make,
  offsetOf,
  overBoth,
  PU,
  serve,
  type Answer,
  type Exchange,
  type Head,
  type Site,
  type SiteOptions,
} from './support.ts'
import { assertPlain, beginAppend, problemOf } from './watched.ts'

const MiB = 1024 * 1024
const PROBLEMS = 'https://iana.org/assignments/http-problem-types#'
/** Of no content that a test sends. */
const WRONG_DIGEST = `sha-256=:${'A'.repeat(43)}=:`

overBoth('R59 · an append is stored behind what is there, and answered with the new offset', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site)
  const source = pattern(100)

  const first = await append(site, path, 0, false, source.subarray(0, 32))
  assert.equal(first.status, 204)
  assert.equal(first.headers.get('upload-offset'), '32')
  assert.equal(first.headers.get('upload-complete'), '?0')
  assert.equal(await offsetOf(site, path), 32)

  const second = await append(site, path, 32, false, source.subarray(32))
  assert.equal(second.status, 204)
  assert.equal(second.headers.get('upload-offset'), '100')
  assert.ok(contentOf(site, path).equals(source))
})

overBoth('R60 · an append of another media type, or none, is refused and changes nothing', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'hello')
  const before = snapshot(site.folder)
  const types = [
    'text/plain', 'application/octet-stream', 'application/offset+octet-stream', 'application/partial-uploads',
    'application/partial upload',
    'application/partial-upload, text/plain', 'text/plain; a=application/partial-upload', '',
  ]
  for (const headers of [{}, ...types.map((type) => ({ 'Content-Type': type }))]) {
    const answer = await ask(site, 'PATCH', path, { ...I8, ...headers, 'Upload-Offset': '5', 'Upload-Complete': '?0' }, 'world')
    assert.equal(answer.status, 415, JSON.stringify(headers))
    assert.equal(answer.headers.get('upload-complete'), '?0')
    assertPlain(answer)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

overBoth('R60 · the media type is compared without regard to case, and without its parameters', async (t, version) => {
  const site = await serve(t, version)
  for (const type of ['Application/Partial-Upload', 'application/partial-upload; charset=utf-8', 'application/partial-upload ;a=b']) {
    const path = await make(site)
    const answer = await append(site, path, 0, false, 'hello', { 'Content-Type': type })
    assert.equal(answer.status, 204, type)
    assert.equal(contentOf(site, path).toString(), 'hello')
  }
})

overBoth('R61 · an append that does not say where it belongs, or whether it is the last, is refused and changes nothing', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'hello')
  const before = snapshot(site.folder)
  for (const headers of [{}, { 'Upload-Offset': '5' }, { 'Upload-Complete': '?0' }, { 'Upload-Complete': '?1' }]) {
    for (const content of ['', 'world']) {
      const answer = await ask(site, 'PATCH', path, { ...I8, ...PU, ...headers }, content)
      assert.equal(answer.status, 400, JSON.stringify(headers))
      assert.equal(answer.headers.get('upload-complete'), '?0')
      assertPlain(answer)
    }
  }
  assert.deepEqual(snapshot(site.folder), before)
})

for (const cut of ['fin', 'rst'] as const) {
  for (const framing of ['known', 'unknown'] as const) {
    overBoth(`R62 · of an append of ${framing} length that is cut (${cut}) every byte that came is stored, and the upload goes on there`, async (t, version) => {
      const site = await serve(t, version, { store: watched })
      const source = pattern(MiB)
      const path = await make(site)
      const exchange = await beginAppend(site, path, 0, false, framing === 'known' ? MiB : 'unknown', source.subarray(0, 300_000))
      await site.store.arrived(300_000)
      exchange.cut(cut)

      const found = await head(site, path)
      assert.equal(found.headers.get('upload-offset'), '300000')
      assert.equal(found.headers.get('upload-complete'), '?0')
      assert.ok(contentOf(site, path).equals(source.subarray(0, 300_000)))

      const rest = await append(site, path, 300_000, true, source.subarray(300_000))
      assert.equal(rest.status, 200)
      assert.ok(contentOf(site, path).equals(source))
    })
  }

  overBoth(`R63 · an append that was to be the last, and is cut (${cut}), completes nothing; the next one does`, async (t, version) => {
    let runs = 0
    const site = await serve(t, version, { onFinish: () => void runs++, store: watched })
    const source = pattern(MiB)
    const path = await make(site)
    const exchange = await beginAppend(site, path, 0, true, MiB, source.subarray(0, 300_000))
    await site.store.arrived(300_000)
    exchange.cut(cut)

    const found = await head(site, path)
    assert.equal(found.headers.get('upload-offset'), '300000')
    assert.equal(found.headers.get('upload-complete'), '?0')
    assert.equal(found.headers.get('upload-length'), String(MiB), 'what it said of the length is kept')
    assert.equal(runs, 0)

    const rest = await append(site, path, 300_000, true, source.subarray(300_000))
    assert.equal(rest.status, 200)
    assert.equal(rest.headers.get('upload-complete'), '?1')
    assert.equal(runs, 1)
    assert.ok(contentOf(site, path).equals(source))
  })

  overBoth(`R63 · an append of unknown length that was to be the last, and is cut (${cut}), completes nothing and leaves the length open`, async (t, version) => {
    let runs = 0
    const site = await serve(t, version, { onFinish: () => void runs++, store: watched })
    const path = await make(site)
    const exchange = await beginAppend(site, path, 0, true, 'unknown', 'hello')
    await site.store.arrived(5)
    exchange.cut(cut)

    const found = await head(site, path)
    assert.equal(found.headers.get('upload-offset'), '5')
    assert.equal(found.headers.get('upload-complete'), '?0')
    assert.equal(found.headers.has('upload-length'), false)
    assert.equal(runs, 0)
    assert.equal((await append(site, path, 5, true, 'world')).status, 200)
    assert.equal(runs, 1)
    assert.equal(contentOf(site, path).toString(), 'helloworld')
  })
}

overBoth('R63 · an append that brought every byte, but not its end, completes nothing', async (t, version) => {
  let runs = 0
  const site = await serve(t, version, { onFinish: () => void runs++, store: watched })
  const path = await make(site, { 'Upload-Length': '10' }, 'hello')
  const exchange = await beginAppend(site, path, 5, true, 'unknown', 'world')
  await site.store.arrived(10)
  exchange.cut('rst')

  const found = await head(site, path)
  assert.equal(found.headers.get('upload-offset'), '10')
  assert.equal(found.headers.get('upload-complete'), '?0')
  assert.equal(runs, 0)
  assert.equal((await append(site, path, 10, true)).status, 200)
  assert.equal(runs, 1)
})

for (const length of [undefined, '10']) {
  overBoth(`R64, R65 · an append at another offset gets the right one, and changes nothing (length ${length ?? 'unknown'})`, async (t, version) => {
    const site = await serve(t, version)
    const path = await make(site, length === undefined ? {} : { 'Upload-Length': length }, 'hello')
    const before = snapshot(site.folder)
    for (const offset of [0, 4, 6, 99, 999_999_999_999_999]) {
      for (const complete of [false, true]) {
        for (const content of ['', 'world']) {
          const answer = await append(site, path, offset, complete, content)
          assert.equal(answer.status, 409, `${offset}, ${complete}`)
          assert.equal(answer.headers.get('upload-offset'), '5')
          assert.equal(answer.headers.get('upload-complete'), '?0')
          const problem = problemOf(answer)
          assert.equal(problem['type'], `${PROBLEMS}mismatching-upload-offset`)
          assert.equal(problem['expected-offset'], 5)
          assert.equal(problem['provided-offset'], offset)
        }
      }
    }
    assert.deepEqual(snapshot(site.folder), before)
    assert.equal((await append(site, path, 5, true, 'world')).status, 200)
  })
}

overBoth('R64 · the refusal of a wrong offset arrives while most of the content has not been sent', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'hello')
  const exchange = await beginAppend(site, path, 0, false, 50 * MiB, pattern(1000))
  assert.equal((await exchange.answer).status, 409)
  exchange.cut('fin')
  await site.settled()
  assert.equal(contentOf(site, path).toString(), 'hello')
})

overBoth('R66 · the append that brings the last content is answered that the upload is complete', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'hello')
  const answer = await append(site, path, 5, true, 'world')
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('location'), path)
  assert.equal(answer.headers.get('upload-complete'), '?1')
  assert.equal(answer.headers.get('upload-offset'), '10')
  assert.equal(answer.headers.get('upload-length'), '10')
  assert.equal((await head(site, path)).headers.get('upload-complete'), '?1')
})

for (const length of [undefined, '10']) {
  overBoth(`R66 · an append without content completes an upload that has all of it (length ${length ?? 'unknown'})`, async (t, version) => {
    const site = await serve(t, version)
    const path = await make(site, length === undefined ? {} : { 'Upload-Length': length }, 'helloworld')
    assert.equal((await head(site, path)).headers.get('upload-complete'), '?0')
    const answer = await append(site, path, 10, true)
    assert.equal(answer.status, 200)
    assert.equal(answer.headers.get('upload-complete'), '?1')
    assert.equal(answer.headers.get('upload-length'), '10')
    assert.equal((await head(site, path)).headers.get('upload-complete'), '?1')
    assert.equal(contentOf(site, path).toString(), 'helloworld')
  })
}

overBoth('R66 · an append without content does not complete an upload that lacks some', async (t, version) => {
  const site = await serve(t, version, { onFinish: () => ({ body: 'finished' }) })
  const path = await make(site, { 'Upload-Length': '10' }, 'hello')
  const answer = await append(site, path, 5, true)
  assert.equal(answer.status, 400)
  assert.equal(answer.headers.get('upload-complete'), '?0')
  assert.equal(problemOf(answer)['type'], `${PROBLEMS}inconsistent-upload-length`)
  assert.equal((await head(site, path)).headers.get('upload-complete'), '?0')
  assert.equal((await append(site, path, 5, true, 'world')).body, 'finished\n')
})

/** What a target may make of an upload. */
const OUTCOMES: readonly (readonly [name: string, onFinish: () => FinishAnswer | void])[] = [
  ['nothing', () => {}],
  ['an empty answer', () => ({})],
  ['a text', () => ({ body: 'thank you' })],
  [
    '201 with headers and JSON',
    () => ({ status: 201, headers: { Location: '/photos/1', 'Content-Type': 'application/json', ETag: '"1"' }, body: '{"name":"Zoë"}\n' }),
  ],
  ['204', () => ({ status: 204, headers: { 'Content-Language': 'en' } })],
  ['303', () => ({ status: 303, headers: { Location: '/photos/1' } })],
  ['an answer of 422', () => ({ status: 422, body: 'no cat in it' })],
  ['a refusal of 403', () => { throw Object.assign(new Error('secret'), { status: 403 }) }],
  [
    'a refusal of 422 with a text and headers',
    () => {
      throw Object.assign(new Error('secret'), { status: 422, body: 'no cat in it', headers: { 'Content-Language': 'en' } })
    },
  ],
]

for (const [name, onFinish] of OUTCOMES) {
  overBoth(`R67 · an upload in pieces has the same final response as one in a single request: ${name}`, async (t, version) => {
    const site = await serve(t, version, { onFinish })
    const whole = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1' }, 'helloworld')
    assert.equal(whole.headers.get('upload-complete'), '?1')

    const answers = [
      await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1' }, 'helloworld', 'unknown'),
      await append(site, await make(site, {}, 'hello'), 5, true, 'world'),
      await append(site, await make(site, { 'Upload-Length': '10' }, 'hello'), 5, true, 'world'),
      await append(site, await make(site), 0, true, 'helloworld'),
      await append(site, await make(site, {}, 'helloworld'), 10, true),
      await ask(
        site,
        'PATCH',
        await make(site, {}, 'hello'),
        { ...I8, ...PU, 'Upload-Offset': '5', 'Upload-Complete': '?1' },
        'world',
        'unknown',
      ),
    ]
    for (const answer of answers) assert.deepEqual(finalResponse(answer), finalResponse(whole))
  })

  overBoth(`R69 · a client that repeats the end of an upload gets its final response again, also from a restarted server: ${name}`, async (t, version) => {
    let runs = 0
    const site = await serve(t, version, { onFinish: () => (runs++, onFinish()) })
    const path = await make(site, {}, 'hello')
    const first = await append(site, path, 5, true, 'world')
    assert.equal(first.headers.get('upload-complete'), '?1')
    const before = snapshot(site.folder)

    const restarted = await serve(t, version, { folder: site.folder, onFinish: () => (runs++, { body: 'another one' }) })
    for (const { port } of [site, site, restarted, restarted]) {
      assert.deepEqual(sent(await append({ ...site, port }, path, 10, true)), sent(first))
    }
    assert.equal(runs, 1)
    assert.deepEqual(snapshot(site.folder), before)
  })
}

overBoth('R68 · a target that refuses the whole upload has its refusal sent as the result, by HEAD too', async (t, version) => {
  const site = await serve(t, version, {
    onFinish: () => { throw Object.assign(new Error('secret'), { status: 422, body: 'no cat in it' }) },
  })
  const path = await make(site, {}, 'hello')
  const refused = await append(site, path, 5, true, 'world')
  assert.equal(refused.status, 422)
  assert.equal(refused.headers.get('upload-complete'), '?1')
  assert.equal(refused.body, 'no cat in it\n')

  const found = await head(site, path)
  assert.equal(found.status, 422)
  assert.equal(found.headers.get('upload-complete'), '?1')
  const before = snapshot(site.folder)
  const more = await append(site, path, 10, false, '!')
  assert.equal(more.status, 422)
  assert.equal(more.headers.get('upload-complete'), '?1')
  assert.deepEqual(snapshot(site.folder), before)
})

overBoth('R68 · a hook that fails refuses nothing: a client that repeats the last append runs it again', async (t, version) => {
  let runs = 0
  const site = await serve(t, version, {
    onFinish: () => {
      if (runs++ === 0) throw new Error('secret')
      return { body: 'thank you' }
    },
  })
  const path = await make(site, {}, 'hello')
  const failed = await append(site, path, 5, true, 'world')
  assert.equal(failed.status, 500)
  assert.equal(failed.headers.get('upload-complete'), '?0')
  assert.ok(!failed.body.includes('secret'))
  const again = await append(site, path, 10, true)
  assert.equal(again.status, 200)
  assert.equal(again.headers.get('upload-complete'), '?1')
  assert.equal(again.body, 'thank you\n')
  assert.equal(runs, 2)
})

overBoth('R69 · a client whose connection is lost behind its last byte gets the result by an append without content, and it was processed once', async (t, version) => {
  let runs = 0
  const site = await serve(t, version, { onFinish: () => ({ body: `run ${++runs}` }), store: watched })
  const path = await make(site, {}, 'hello')
  const exchange = await beginAppend(site, path, 5, true, 5, 'world')
  await site.store.arrived(10)
  exchange.cut('rst')
  await site.settled()

  assert.equal(await offsetOf(site, path), 10)
  const answer = await append(site, path, 10, true)
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('upload-complete'), '?1')
  assert.equal(answer.body, 'run 1\n')
  assert.equal(runs, 1)
})

overBoth('R69 · repeating the last append with its content is a wrong offset by then, and changes nothing', async (t, version) => {
  let runs = 0
  const site = await serve(t, version, { onFinish: () => void runs++ })
  const path = await make(site, {}, 'hello')
  await append(site, path, 5, true, 'world')
  const before = snapshot(site.folder)
  const again = await append(site, path, 5, true, 'world')
  assert.equal(again.status, 409)
  assert.equal(again.headers.get('upload-offset'), '10')
  assert.equal(again.headers.get('upload-complete'), '?0')
  assert.equal(runs, 1)
  assert.deepEqual(snapshot(site.folder), before)
})

overBoth('R69 · a complete upload cannot be made to go on, not even without content', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'hello')
  await append(site, path, 5, true, 'world')
  const before = snapshot(site.folder)
  const answer = await append(site, path, 10, false)
  assert.equal(answer.status, 400)
  assert.equal(answer.headers.get('upload-complete'), '?0')
  assert.equal(problemOf(answer)['type'], `${PROBLEMS}completed-upload`)
  assert.equal((await head(site, path)).headers.get('upload-complete'), '?1')
  assert.deepEqual(snapshot(site.folder), before)
})

overBoth('R70 · the length becomes known by an append that tells it, with or without content', async (t, version) => {
  const site = await serve(t, version)
  for (const content of ['', 'world']) {
    const path = await make(site, {}, 'hello')
    assert.equal((await head(site, path)).headers.has('upload-length'), false)
    const answer = await append(site, path, 5, false, content, { 'Upload-Length': '100' })
    assert.equal(answer.status, 204)
    assert.equal(answer.headers.get('upload-length'), '100')
    assert.equal((await head(site, path)).headers.get('upload-length'), '100')
  }
})

overBoth('R70 · the length becomes known by the end of the last append', async (t, version) => {
  const site = await serve(t, version)
  for (const framing of ['known', 'unknown'] as const) {
    const path = await make(site, {}, 'hello')
    const answer = await ask(site, 'PATCH', path, { ...I8, ...PU, 'Upload-Offset': '5', 'Upload-Complete': '?1' }, 'world', framing)
    assert.equal(answer.status, 200)
    const found = await head(site, path)
    assert.equal(found.headers.get('upload-length'), '10')
    assert.equal(found.headers.get('upload-complete'), '?1')
  }
})

overBoth('R70 · an append that is refused tells no length', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'hello')
  const before = snapshot(site.folder)
  const rows = [
    [409, 4, false, '', { 'Upload-Length': '100' }],
    [409, 4, true, 'world', {}],
    [400, 5, true, 'world', { 'Upload-Length': '100' }],
    [400, 5, false, '', { 'Upload-Length': '4' }],
    [400, 5, false, 'world', { 'Upload-Length': '9' }],
    [415, 5, true, 'world', { 'Content-Type': 'text/plain' }],
  ] as const
  for (const [status, offset, complete, content, headers] of rows) {
    assert.equal((await append(site, path, offset, complete, content, headers)).status, status, JSON.stringify(headers))
    assert.equal((await head(site, path)).headers.has('upload-length'), false)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

overBoth('R70 · an append of which nothing is kept tells no length', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'hello')
  for (const complete of [false, true]) {
    const refused = await append(site, path, 5, complete, 'world', { 'Upload-Length': '10', 'Content-Digest': WRONG_DIGEST })
    assert.equal(refused.status, 400)
    const found = await head(site, path)
    assert.equal(found.headers.get('upload-offset'), '5')
    assert.equal(found.headers.has('upload-length'), false)
  }
})

for (const framing of ['known', 'unknown'] as const) {
  for (const complete of ['?0', '?1']) {
    overBoth(`R71, R72 · content of ${framing} length beyond the upload's length (${complete}) is refused, and the upload is of no use any more`, async (t, version) => {
      let runs = 0
      const site = await serve(t, version, { onFinish: () => void runs++ })
      const path = await make(site, { 'Upload-Length': '50' })
      const answer = await ask(
        site,
        'PATCH',
        path,
        { ...I8, ...PU, 'Upload-Offset': '0', 'Upload-Complete': complete },
        pattern(100),
        framing,
      )
      assert.equal(answer.status, 400)
      assert.equal(answer.headers.get('upload-complete'), '?0')
      assert.equal(problemOf(answer)['type'], `${PROBLEMS}inconsistent-upload-length`)
      assertAtMost(answer, 50)
      await assertDeactivated(site, path)
      assert.equal(runs, 0)
    })
  }
}

overBoth('R71, R72 · one byte more than the length is refused after all others came, and the upload is of no use any more', async (t, version) => {
  const site = await serve(t, version)
  for (const framing of ['known', 'unknown'] as const) {
    const path = await make(site, { 'Upload-Length': '50' })
    assert.equal((await append(site, path, 0, false, pattern(50))).headers.get('upload-offset'), '50')
    const answer = await ask(site, 'PATCH', path, { ...I8, ...PU, 'Upload-Offset': '50', 'Upload-Complete': '?0' }, '!', framing)
    assert.equal(answer.status, 400)
    assertAtMost(answer, 50)
    await assertDeactivated(site, path)
  }
})

overBoth('R71 · an append that is longer than the length it tells is refused', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site)
  const known = await append(site, path, 0, false, pattern(100), { 'Upload-Length': '50' })
  assert.equal(known.status, 400)
  assert.equal(problemOf(known)['type'], `${PROBLEMS}inconsistent-upload-length`)
  assertAtMost(known, 50)

  const other = await make(site)
  const headers = { ...I8, ...PU, 'Upload-Offset': '0', 'Upload-Complete': '?0', 'Upload-Length': '50' }
  const unknown = await ask(site, 'PATCH', other, headers, pattern(100), 'unknown')
  assert.equal(unknown.status, 400)
  assertAtMost(unknown, 50)
  assertAtMost(await head(site, other), 50)
})

overBoth('R71, R72 · content beyond the length of an upload that is complete is refused, and leaves it complete', async (t, version) => {
  let runs = 0
  const site = await serve(t, version, { onFinish: () => void runs++ })
  const path = await make(site, { 'Upload-Length': '50' })
  await append(site, path, 0, true, pattern(50))
  const before = snapshot(site.folder)
  for (const complete of ['?0', '?1']) {
    for (const framing of ['known', 'unknown'] as const) {
      const answer = await ask(site, 'PATCH', path, { ...I8, ...PU, 'Upload-Offset': '50', 'Upload-Complete': complete }, '!', framing)
      assert.equal(answer.status, 400)
      assertAtMost(answer, 50)
    }
  }
  const found = await head(site, path)
  assert.equal(found.status, 204)
  assert.equal(found.headers.get('upload-offset'), '50')
  assert.equal(found.headers.get('upload-complete'), '?1')
  assert.equal(runs, 1)
  assert.deepEqual(snapshot(site.folder), before)
})

overBoth('R73, R74, R78 · while content comes 104 reports how far it is stored: never less than before, never more than there is', async (t, version) => {
  const told: Telling[] = []
  const site = await serve(t, version, { store: (files) => new TellingStore(files, told) })
  const source = pattern(4 * MiB)
  const path = await make(site)
  const exchange = await beginAppend(site, path, 0, true, source.length)
  const arrived = sizesAtArrival(site, path, exchange)
  for (let sent = 0; sent < source.length; ) {
    await exchange.write(source.subarray(sent, (sent += 64 * 1024)))
    await stored(site, path, sent)
  }
  exchange.end()
  const answer = await exchange.answer
  assert.equal(answer.status, 200)

  assert.ok(answer.interim.length > 0, 'at least one was sent')
  assert.deepEqual([...new Set(answer.interim.map(({ status }) => status))], [104])
  const offsets = answer.interim.map(offsetIn)
  for (const [n, offset] of offsets.entries()) assert.ok(offset > (offsets[n - 1] ?? 0), `${offset} after ${offsets[n - 1]}`)
  for (const { headers } of answer.interim) {
    assert.equal(headers.get('upload-draft-interop-version'), '8')
    assert.equal(headers.has('location'), false)
  }
  for (const { offset, size } of told) assert.ok(offset <= size, `${offset} was told when there were ${size}`)
  for (const { offset, size } of await arrived) assert.ok(offset <= size, `${offset} arrived when there were ${size}`)
  assert.ok(contentOf(site, path).equals(source))
})

overBoth('R73, R78 · where every append is flushed, 104 reports nothing that a power failure could take', async (t, version) => {
  const told: Telling[] = []
  const site = await serve(t, version, { files: { sync: 'append' }, store: (files) => new TellingStore(files, told) })
  const path = await make(site)
  const exchange = await beginAppend(site, path, 0, false, 'unknown')
  let first: Head | undefined
  void exchange.interim().then((head) => (first = head))
  let sent = 0
  while (!first) {
    await exchange.write('x'.repeat(4096))
    await stored(site, path, (sent += 4096))
  }
  exchange.cut('rst')

  const offset = offsetIn(first)
  assert.ok(offset > 0 && offset <= sent, String(offset))
  assert.equal(first.headers.has('location'), false)
  assert.equal(told[0]?.offset, offset)
  for (const { offset, size, flushed } of told) {
    assert.ok(offset <= size && offset <= flushed, `${offset} was told when ${flushed} of ${size} were flushed`)
  }
  assert.ok((await offsetOf(site, path)) >= offset)
})

test('R73 · an offset that 104 reported is there after the server was killed (HTTP/1.1)', async (t) => {
  const folder = temporaryFolder(t)
  const version = 'HTTP/1.1'
  const killed = await startProgram(t, ['--dir', folder])
  const created = await begin(
    { port: killed.port, version },
    { method: 'POST', path: '/files/', headers: { ...I8, 'Upload-Complete': '?0' } },
    'none',
  )
  const path = locationOf(await created.answer)
  const headers = { ...I8, ...PU, 'Upload-Offset': '0', 'Upload-Complete': '?1' }
  const exchange = await begin({ port: killed.port, version }, { method: 'PATCH', path, headers }, 1024 * MiB)
  let last: Head | undefined
  void exchange.interim().then((head) => (last = head))
  for (let sent = 0; !last; ) {
    await exchange.write(Buffer.alloc(4096, 'x'))
    await stored({ folder }, path, (sent += 4096))
  }
  killed.process.kill('SIGKILL')
  await killed.exit

  const restarted = await startProgram(t, ['--dir', folder])
  const found = await (await begin({ port: restarted.port, version }, { method: 'HEAD', path, headers: I8 }, 'none')).answer
  assert.equal(found.status, 204)
  assert.ok(offsetIn(found) >= offsetIn(last) && offsetIn(last) > 0, `${offsetIn(found)} after ${offsetIn(last)}`)
  assert.equal(found.headers.get('upload-complete'), '?0')
})

overBoth('R78 · the offset in every answer to an append is what is stored', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site)
  const source = pattern(MiB)
  const size = (): number => statSync(join(site.folder, path.slice('/files/'.length))).size
  for (let offset = 0, n = 1; offset < source.length; n++) {
    const answer = await append(site, path, offset, false, source.subarray(offset, offset + n * 10_007))
    const here = size()
    assert.equal(offsetIn(answer), here)
    assert.equal(here, Math.min(offset + n * 10_007, source.length))
    assert.equal(offsetIn(await append(site, path, offset, false, '?')), here, 'a wrong offset is told the right one')
    offset = here
  }
  const last = await append(site, path, source.length, true)
  assert.equal(offsetIn(last), size())
  assert.ok(contentOf(site, path).equals(source))
})

overBoth('R78 · an append that falls silent is told how much of it is stored', async (t, version) => {
  const site = await serve(t, version, { idleTimeoutMs: 50 })
  const path = await make(site, {}, 'hello')
  const exchange = await beginAppend(site, path, 5, true, 100, 'wor')
  const answer = await exchange.answer
  exchange.cut('fin')
  assert.equal(answer.status, 503)
  assert.equal(answer.headers.get('upload-offset'), '8')
  assert.equal(answer.headers.get('upload-complete'), '?0')
  assert.equal(contentOf(site, path).toString(), 'hellowor')
  assert.equal(await offsetOf(site, path), 8)
})

/** Every way in which an append can end that a test can bring about with one request. */
const ENDS: readonly (readonly [
  status: number,
  complete: '?0' | '?1',
  name: string,
  options: SiteOptions,
  act: (site: Site, path: string) => Promise<Answer>,
])[] = [
  [204, '?0', 'appended', {}, (site, path) => append(site, path, 5, false, 'world')],
  [200, '?1', 'complete', {}, (site, path) => append(site, path, 5, true, 'world')],
  [200, '?1', 'complete without content', {}, (site, path) => append(site, path, 5, true)],
  [400, '?0', 'no offset', {}, (site, path) => append(site, path, 5, true, 'world', { 'Upload-Offset': 'x' })],
  [400, '?0', 'not said whether complete', {}, (site, path) => append(site, path, 5, true, 'world', { 'Upload-Complete': '1' })],
  [400, '?0', 'two lengths', {}, (site, path) => append(site, path, 5, true, 'world', { 'Upload-Length': '11' })],
  [400, '?0', 'less than the server takes', { minAppendSize: 5 }, (site, path) => append(site, path, 5, false, 'worl')],
  [400, '?0', 'another digest', {}, (site, path) => append(site, path, 5, true, 'world', { 'Content-Digest': WRONG_DIGEST })],
  [
    401,
    '?0',
    'not allowed',
    {
      authorize: ({ kind }) => {
        if (kind === 'append') throw Object.assign(new Error('no'), { status: 401 })
      },
    },
    (site, path) => append(site, path, 5, true, 'world'),
  ],
  [404, '?0', 'no such upload', {}, (site) => append(site, '/files/unknown', 5, true, 'world')],
  [409, '?0', 'another offset', {}, (site, path) => append(site, path, 4, true, 'world')],
  [413, '?0', 'more than one request may bring', { maxAppendSize: 5 }, (site, path) => append(site, path, 5, true, 'worlds')],
  [413, '?0', 'more than an upload may have', { maxSize: 10 }, (site, path) => append(site, path, 5, false, 'worlds')],
  [415, '?0', 'another media type', {}, (site, path) => append(site, path, 5, true, 'world', { 'Content-Type': 'text/plain' })],
  [
    422,
    '?1',
    'refused by the target',
    {
      onFinish: () => {
        throw Object.assign(new Error('no'), { status: 422 })
      },
    },
    (site, path) => append(site, path, 5, true, 'world'),
  ],
  [500, '?0', 'a target that fails', { onFinish: () => { throw new Error('no') } }, (site, path) => append(site, path, 5, true, 'world')],
  [
    503,
    '?0',
    'a target that asks for patience',
    {
      onFinish: () => {
        throw Object.assign(new Error('no'), { status: 503 })
      },
    },
    (site, path) => append(site, path, 5, true, 'world'),
  ],
]

for (const [status, complete, name, options, act] of ENDS) {
  overBoth(`R75 · the answer to an append says ${complete} where it is ${status}: ${name}`, async (t, version) => {
    const site = await serve(t, version, options)
    const path = await make(site, {}, 'hello')
    const answer = await act(site, path)
    assert.equal(answer.status, status)
    assert.equal(answer.headers.get('upload-complete'), complete)
  })
}

overBoth('R75 · the answer to an append says ?0 where the server has no place for its content', async (t, version) => {
  const site = await serve(t, version, { maxConcurrent: 0 })
  const answer = await append(site, await make(site), 0, true, 'hello')
  assert.equal(answer.status, 503)
  assert.equal(answer.headers.get('upload-complete'), '?0')
})

overBoth('R76 · an append without content leaves the upload where it is', async (t, version) => {
  const site = await serve(t, version)
  for (const content of ['', 'hello']) {
    const path = await make(site, {}, content)
    for (const framing of ['known', 'unknown'] as const) {
      const answer = await ask(
        site,
        'PATCH',
        path,
        { ...I8, ...PU, 'Upload-Offset': String(content.length), 'Upload-Complete': '?0' },
        '',
        framing,
      )
      assert.equal(answer.status, 204)
      assert.equal(answer.headers.get('upload-offset'), String(content.length))
      assert.equal(answer.headers.get('upload-complete'), '?0')
    }
    assert.equal(contentOf(site, path).toString(), content)
  }
})

test('R77 · of content in chunks of odd sizes, with extensions and trailers, the decoded bytes count (HTTP/1.1)', async (t) => {
  const site = await serve(t, 'HTTP/1.1')
  const source = pattern(5000)
  const path = await make(site)
  const parts: Buffer[] = []
  const extensions = ['', ';a=b', ';a="b;c"', ';a', ';a=b;c=d']
  for (let at = 0, n = 0; at < source.length; n++) {
    const chunk = source.subarray(at, (at += 1 + ((n * n * 7919) % 500)))
    const size = n % 2 === 0 ? chunk.length.toString(16).padStart(4, '0') : chunk.length.toString(16).toUpperCase()
    parts.push(Buffer.from(`${size}${extensions[n % extensions.length]}\r\n`), chunk, Buffer.from('\r\n'))
  }
  const headers = [
    'Upload-Draft-Interop-Version: 8', 'Content-Type: application/partial-upload', 'Upload-Offset: 0', 'Upload-Complete: ?1',
    'Transfer-Encoding: chunked',
  ]
  const client = await WireClient.connect(site.port)
  await client.send(withBody(request(`PATCH ${path}`, headers), Buffer.concat([...parts, Buffer.from('0\r\nUpload-Offset: 7\r\n\r\n')])))
  let answer = await client.response()
  while (answer.status === 104) answer = await client.response()
  client.destroy()
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('upload-offset'), '5000')
  assert.equal(answer.headers.get('upload-length'), '5000')
  assert.ok(contentOf(site, path).equals(source))
})

/** Everything that a client gets to see of an answer, but for the moment at which it was made. */
function sent({ status, headers, body }: Answer): unknown {
  const { date, ...others } = Object.fromEntries(headers)
  return { status, headers: others, body }
}

/** The same for an upload whose id does not matter. */
function finalResponse(answer: Answer): unknown {
  return JSON.parse(JSON.stringify(sent(answer)).replaceAll(/\/files\/[0-9a-f]{32}/g, '/files/…'))
}

function offsetIn({ headers }: Head): number {
  return Number(headers.get('upload-offset') ?? assert.fail('no Upload-Offset'))
}

function assertAtMost(answer: Answer, bytes: number): void {
  for (const { headers } of [answer, ...answer.interim]) {
    const offset = Number(headers.get('upload-offset') ?? 0)
    assert.ok(offset <= bytes, String(offset))
  }
}

/** A deactivated upload can still be removed, and nothing else. */
async function assertDeactivated(site: Site, path: string): Promise<void> {
  const found = await head(site, path)
  assert.equal(found.status, 410)
  assert.equal(found.headers.has('upload-offset'), false)
  for (const [offset, complete, content] of [[0, false, 'x'], [50, false, ''], [50, true, ''], [0, true, '']] as const) {
    const answer = await append(site, path, offset, complete, content)
    assert.equal(answer.status, 410)
    assert.equal(answer.headers.get('upload-complete'), '?0')
  }
  assert.equal((await ask(site, 'DELETE', path, I8)).status, 204)
  assert.equal((await head(site, path)).status, 404)
}

/** What there was at the moment in which an offset was told. */
interface Telling {
  readonly offset: number
  readonly size: number
  /** Up to where the sidecar promises that a power failure takes nothing. */
  readonly flushed: number
}

/** A store that looks at its files whenever it tells how far it has come. */
class TellingStore extends StoreBehind {
  readonly #told: Telling[]

  constructor(files: StoreBehind['files'], told: Telling[]) {
    super(files)
    this.#told = told
  }

  override append(upload: Upload, body: Readable, options: AppendOptions): Promise<number> {
    const path = join(this.files.directory, upload.id)
    const onProgress = (offset: number): void => {
      const { Longhaul } = JSON.parse(readFileSync(`${path}.info`, 'utf8')) as { Longhaul: { mark?: { offset: number } } }
      this.#told.push({ offset, size: statSync(path).size, flushed: Longhaul.mark?.offset ?? 0 })
      options.onProgress?.(offset)
    }
    return super.append(upload, body, { ...options, onProgress })
  }

  flush(upload: Upload): Promise<void> {
    return this.files.flush(upload)
  }
}

/** Takes all interim responses to a request, and looks at the file whenever one of them comes. */
async function sizesAtArrival(
  site: Site,
  path: string,
  exchange: Exchange,
): Promise<readonly { readonly offset: number; readonly size: number }[]> {
  const sizes: { offset: number; size: number }[] = []
  for (;;) {
    const interim = await exchange.interim().catch(() => undefined) // there are no more
    if (!interim) return sizes
    sizes.push({ offset: offsetIn(interim), size: statSync(join(site.folder, path.slice('/files/'.length))).size })
  }
}
