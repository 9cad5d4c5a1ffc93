// SPDX-License-Identifier: MIT

/** What sidecars say, in each of the dialects. Nothing here touches the disk. @module */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  newSidecar, parseNodeSidecar, parseSidecar, toMovedUpload, toUpload, type LaterSidecar, type Sidecar,
} from '../lib/file-store/sidecar.ts'
import type { StoredMark } from '../lib/file-store/stored-upload.ts'

const CREATED = '2026-11-30T12:00:00.000Z'
const file = { size: 3, createdAt: new Date(1), updatedAt: new Date(2) }

/** A sidecar with these keys of ours. */
function sidecarWith(longhaul: object, others: object = {}): string {
  return JSON.stringify({ ID: 'x', Size: 5, ...others, Longhaul: { state: 'receiving', createdAt: CREATED, ...longhaul } })
}

function isRead(parsed: Sidecar | LaterSidecar | undefined): parsed is Sidecar {
  return parsed !== undefined && !('laterVersion' in parsed)
}

function read(text: string): Sidecar {
  const parsed = parseSidecar(text)
  return isRead(parsed) ? parsed : assert.fail(`it cannot be read: ${text}`)
}

const boot = 'a boot'

for (const [name, marks, expected] of [
  ['none', {}, undefined],
  ['a verified offset', { verifiedOffset: 3 }, { offset: 3 }],
  ['a verified offset of nothing', { verifiedOffset: 0 }, { offset: 0 }],
  ['flushed bytes', { flushed: { offset: 3, boot } }, { offset: 3, boot, flushed: true }],
  ['flushed bytes, where the boot is not known', { flushed: { offset: 3 } }, { offset: 3, boot: undefined, flushed: true }],
  ['both at one offset', { verifiedOffset: 3, flushed: { offset: 3, boot } }, { offset: 3, flushed: true }],
  ['both, the flush lower', { verifiedOffset: 3, flushed: { offset: 2, boot } }, { offset: 2, flushed: true }],
  ['both, the verdict lower', { verifiedOffset: 1, flushed: { offset: 2, boot } }, { offset: 1, flushed: true }],
] as const) {
  test(`version 1 with marks: ${name}; its one mark protects as much`, () => {
    const { Longhaul } = read(sidecarWith({ version: 1, ...marks }))
    assert.equal(Longhaul?.version, 2)
    assert.deepEqual(Longhaul.mark, expected)
    for (const key of ['verifiedOffset', 'flushed']) assert.ok(!(key in Longhaul), `${key} is still there`)
    const written = JSON.stringify(read(sidecarWith({ version: 1, ...marks })))
    assert.deepEqual(JSON.parse(JSON.stringify(read(written))), JSON.parse(written), 'version 2 is read as it was written')
  })
}

const MARKS: readonly StoredMark[] = [{ offset: 0 }, { offset: 3, boot }, { offset: 3, flushed: true }, { offset: 3, boot, flushed: true }]
for (const mark of MARKS) {
  test(`version 2 with the mark ${JSON.stringify(mark)} is read as it stands`, () => {
    assert.deepEqual(read(sidecarWith({ version: 2, mark })).Longhaul?.mark, mark)
  })
}

test('keys that are not known stay, in tusd\'s part and in ours; those of version 1 mean nothing in version 2', () => {
  for (const version of [1, 2]) {
    const sidecar = read(sidecarWith({ version, Future: [1] }, { Elsewhere: { a: 'b' } }))
    assert.deepEqual((sidecar as unknown as Record<string, unknown>)['Elsewhere'], { a: 'b' })
    assert.deepEqual((sidecar.Longhaul as unknown as Record<string, unknown>)['Future'], [1])
  }
  assert.equal(read(sidecarWith({ version: 2, verifiedOffset: 3, flushed: 'yes' })).Longhaul?.mark, undefined)
  assert.equal(read(sidecarWith({ version: 1, mark: { offset: 3 } })).Longhaul?.mark, undefined)
})

for (const marks of [
  { verifiedOffset: -1 }, { verifiedOffset: 1.5 }, { verifiedOffset: '3' }, { verifiedOffset: null },
  { flushed: null }, { flushed: [] }, { flushed: 3 }, { flushed: {} }, { flushed: { offset: -1 } }, { flushed: { offset: 3, boot: 7 } },
  { verifiedOffset: 3, flushed: {} }, { verifiedOffset: 3, flushed: { offset: '3' } }, { verifiedOffset: '3', flushed: { offset: 3 } },
  { verifiedOffset: -1, flushed: { offset: 3 } },
]) {
  test(`version 1 with ${JSON.stringify(marks)} is damaged`, () => {
    assert.equal(parseSidecar(sidecarWith({ version: 1, ...marks })), undefined)
  })
}

for (const longhaul of [
  { version: 0 }, { version: -1 }, { version: '2' }, { version: '3' }, { version: null }, {}, { version: 1.5 },
  ...[
    { mark: null }, { mark: 3 }, { mark: [] }, { mark: {} }, { mark: { offset: -1 } }, { mark: { offset: '3' } },
    { mark: { offset: 3, boot: 7 } }, { mark: { offset: 3, boot: null } }, { mark: { offset: 3, flushed: 1 } },
    { state: 'done' }, { createdAt: 'never' }, { movedAt: 'never' }, { maxSize: -1 }, { completion: 'perhaps' },
    { digest: {} }, { digest: { algorithm: 'md5', value: 7 } }, { digest: 'md5' }, { encodedMetadata: 'a\nb' }, { encodedParts: 7 },
    { outcome: {} }, { outcome: { headers: {}, body: '', status: 199 } }, { outcome: { headers: {}, body: '', status: 600 } },
    { outcome: { headers: {}, body: '', status: 200.5 } }, { outcome: { headers: { 'a b': 'c' }, body: '' } },
  ].map((change) => ({ version: 2, ...change })),
]) {
  test(`our part with ${JSON.stringify(longhaul)} is damaged`, () => {
    assert.equal(parseSidecar(sidecarWith(longhaul)), undefined)
  })
}

test('a later version is told apart, whatever else it has changed', () => {
  for (const version of [3, 4, 1000]) {
    assert.deepEqual(parseSidecar(sidecarWith({ version })), { laterVersion: version })
    assert.deepEqual(parseSidecar(JSON.stringify({ Id: 'renamed', Longhaul: { version, state: ['new'] } })), { laterVersion: version })
  }
})

test('what is no record, and no sidecar of anybody, is damaged', () => {
  const withOurs = ['null', '[]', '7'].map((longhaul) => `{"ID":"x","Size":3,"Longhaul":${longhaul}}`)
  for (const text of ['', '{', 'null', '[]', '7', '{}', '{"ID":"x"}', ...withOurs]) {
    assert.equal(parseSidecar(text), undefined, text)
  }
  for (const text of ['', '{}', '{"id":7}', '{"id":"x","size":-1}', '{"id":"x","size":null}', '{"id":"x","metadata":[]}']) {
    assert.equal(parseNodeSidecar(text), undefined, text)
  }
})

test('a sidecar of tusd has no state: the size of the data is all that there is', () => {
  const tusd = read('{"ID":"x","Size":3,"MetaData":null,"PartialUploads":[]}')
  const whole = toUpload(tusd, file)
  const { state, foreign, parts, createdAt, mark } = whole
  assert.deepEqual([state, foreign, parts, createdAt, mark], ['finished', true, undefined, file.createdAt, undefined])
  assert.equal(toUpload(tusd, { ...file, size: 2 }).state, 'receiving')
  const final = read('{"ID":"x","Size":3,"IsFinal":true,"PartialUploads":["a","b"]}')
  assert.deepEqual(toUpload(final, file).parts, ['a', 'b'])
  assert.equal(toMovedUpload(tusd), undefined)
})

test('a sidecar of @tus/file-store is read with its metadata as text, and no length where it has no size', () => {
  const { metadata, length, foreign } = toUpload(parseNodeSidecar('{"id":"x","metadata":{"a":"b","c":null}}')!, file)
  assert.deepEqual([metadata, length, foreign], [new Map([['a', 'b'], ['c', '']]), undefined, true])
  const sized = toUpload(parseNodeSidecar('{"id":"x","size":3,"metadata":null}')!, file)
  assert.deepEqual([sized.metadata, sized.length, sized.state], [new Map(), 3, 'finished'])
})

test('a new sidecar is read back as it was made, with a mark and without', () => {
  const upload = {
    id: 'x', length: 5, metadata: new Map([['a', 'b']]), encodedMetadata: 'a Yg==', partial: true, parts: ['a'], encodedParts: 'final;/a',
    maxSize: 9, completion: 'explicit', digest: { algorithm: 'md5', value: 'x' },
  } as const
  for (const mark of [undefined, ...MARKS]) {
    const sidecar = newSidecar(upload, new Date(CREATED), mark)
    const { offset, state, createdAt, updatedAt, outcome, foreign, mark: kept, ...rest } = toUpload(read(JSON.stringify(sidecar)), file)
    assert.deepEqual(rest, upload)
    assert.deepEqual([offset, state, updatedAt, outcome, foreign, kept], [3, 'receiving', file.updatedAt, undefined, false, mark])
    assert.equal(createdAt.toISOString(), CREATED)
  }
})

test('data that are gone were moved, or taken while the upload was finishing; else they are lost', () => {
  const movedAt = '2026-11-30T12:00:01.000Z'
  const moved = toMovedUpload(read(sidecarWith({ version: 2, state: 'finished', movedAt })))
  assert.deepEqual([moved?.offset, moved?.movedAt?.toISOString(), moved?.state], [5, movedAt, 'finished'])
  assert.ok(toMovedUpload(read(sidecarWith({ version: 2, state: 'finishing' })))?.movedAt instanceof Date)
  assert.equal(toMovedUpload(read(sidecarWith({ version: 2, state: 'finished' }))), undefined)
  assert.equal(toMovedUpload(read(sidecarWith({ version: 2, state: 'receiving', movedAt }, { SizeIsDeferred: true }))), undefined)
})
