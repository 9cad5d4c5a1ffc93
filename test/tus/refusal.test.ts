// SPDX-License-Identifier: MIT

/** Which answers tus clients try again: those that a retry helps with, and no others. */

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { UploadError, type UploadErrorCode } from '../../lib/upload/errors.ts'
import type { Upload } from '../../lib/upload/types.ts'
import type { Exchange } from '../../lib/http/exchange.ts'
import { refuse } from '../../lib/tus/refusal.ts'
import { Gate } from '../support/gate.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { request } from '../support/wire.ts'
import { patch } from './steps.ts'
import { ask, head, make, offsetOf, OCT, serve, V, type Site, type SiteOptions } from './support.ts'

/** Whether time may help, for each code. The compiler complains about a missing one. */
const PASSES = {
  BAD_REQUEST: false, LENGTH_CONFLICT: false, COMPLETED: false, TOO_SMALL: false, FINAL_UPLOAD: false, REFUSED: false, NOT_FOUND: false,
  METHOD_NOT_ALLOWED: false, EXPIRED: false, DEACTIVATED: false, PART_GONE: false, MOVED: false, UNSUPPORTED_VERSION: false,
  TOO_LARGE: false,
  MAX_SIZE_EXCEEDED: false, APPEND_TOO_LARGE: false, UNSUPPORTED_MEDIA_TYPE: false, METADATA_TOO_LARGE: false, BODY_CONSUMED: false,
  UPLOAD_CORRUPT: false, UNSUPPORTED_CODING: false,
  OFFSET_CONFLICT: true, TAKEN_OVER: true, LOCKED: true, INTERNAL: true, BUSY: true, LOCK_LOST: true, OVERDUE: true, SHUTTING_DOWN: true,
  STORE_FULL: true,
  UPLOAD_EXISTS: 'never of HEAD', CHECKSUM_MISMATCH: 'never of HEAD', IDLE: 'never of HEAD', SHORT: 'never of HEAD',
} as const satisfies Record<UploadErrorCode, boolean | string>

const statusOf = (method: string, error: UploadError, headers: object = { 'tus-resumable': '1.0.0' }): number =>
  refuse({ req: { headers } as Exchange['req'], method }, error).status ?? error.status

for (const [code, passes] of Object.entries(PASSES) as [UploadErrorCode, boolean | string][]) {
  if (typeof passes === 'string') continue
  const error = new UploadError(code)
  const outcome = passes ? '423, and no client starts over' : `${error.status}, and clients do not wait for what never comes`
  test(`a HEAD that fails with ${code} is ${outcome}`, () => {
    assert.equal(statusOf('HEAD', error), passes ? 423 : error.status)
    for (const method of ['POST', 'PATCH', 'DELETE']) {
      const status = statusOf(method, error)
      assert.equal(status, error.status)
      if (passes) assert.ok(status === 409 || status === 423 || status >= 500, 'tus-js-client, Uppy, tuspy and TUSKit try it again')
    }
    assert.equal(statusOf('HEAD', error, {}), error.status, 'that of a download is told what is the matter')
  })
}

test('a body that was interrupted, however, is answered with a status that clients try again', () => {
  for (const code of ['TAKEN_OVER', 'SHUTTING_DOWN', 'SHORT', 'IDLE'] as const) {
    const status = statusOf('PATCH', new UploadError(code))
    assert.ok(status === 409 || status === 423 || status >= 500, code)
  }
})

test('a PATCH at another offset gets the right one', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  for (const offset of [0, 4, 6, 10]) {
    const { status, headers } = await patch(site, upload, offset)
    assert.deepEqual([status, headers.get('upload-offset')], [409, '5'])
  }
})

test('a hook that says later to HEAD is 423 with its own Retry-After and text; one that says no is what it says', async (t) => {
  let thrown: object | undefined
  const site = await serve(t, { authorize: () => { if (thrown) throw Object.assign(new Error('secret'), thrown) } })
  const upload = await make(site, 10, 'hello')
  for (const [status, expected] of [
    [500, 423],
    [503, 423],
    [429, 423],
    [401, 401],
    [403, 403],
    [404, 404],
    [409, 409],
    [410, 410],
    [422, 422],
  ] as const) {
    thrown = { status, headers: { 'Retry-After': '60' } }
    const { status: told, headers } = await head(site, upload)
    assert.deepEqual([told, headers.get('retry-after')], [expected, '60'], String(status))
    assert.equal((await ask(site, request(`DELETE ${upload}`, [V]))).status, status)
  }
})

test('an upload that onFinish rejected with 429 stays rejected with 429', async (t) => {
  const site = await serve(t, { onFinish: () => { throw Object.assign(new Error('secret'), { status: 429 }) } })
  const upload = await make(site, 10, 'hello')
  assert.equal((await patch(site, upload, 5, 'world')).status, 429)
  assert.equal((await head(site, upload)).status, 429)
  assert.equal(statusOf('HEAD', new UploadError('REFUSED', { message: '', status: 503, upload: { state: 'rejected' } as Upload })), 503)
})

/** A store whose `find` fails for a moment. */
class MomentaryStore extends StoreBehind {
  failure: unknown
  gate: Gate | undefined

  override async find(id: string): Promise<Upload | undefined> {
    await this.gate?.pass()
    if (this.failure !== undefined) throw this.failure
    return super.find(id)
  }
}

function serveMomentary(t: TestContext, options?: SiteOptions): Promise<Site<MomentaryStore>> {
  return serve(t, { ...options, store: (files) => new MomentaryStore(files) })
}

for (const code of ['EIO', 'EMFILE', 'UPLOAD_MOVED_ON', 'LOCKS_CLOSED', 'ENOSPC']) {
  test(`a HEAD during which the store fails for a moment (${code}) is 423 with Retry-After; the next one tells the offset`, async (t) => {
    const site = await serveMomentary(t)
    const upload = await make(site, 10, 'hello')
    site.store.failure = Object.assign(new Error('secret'), { code })
    const asked = [request(`HEAD ${upload}`, [V]), request(`POST ${upload}`, [V, 'X-HTTP-Method-Override: HEAD', 'Content-Length: 0'])]
    for (const text of asked) {
      const { status, headers, body } = await ask(site, text, { toHead: text.startsWith('HEAD') })
      assert.deepEqual([status, headers.get('retry-after'), headers.has('upload-offset'), body], [423, '1', false, ''])
    }
    site.store.failure = undefined
    assert.equal(await offsetOf(site, upload), 5)
  })
}

test('a HEAD that takes too long is 423 with Retry-After; the next one tells the offset', async (t) => {
  const patient = await serve(t)
  const upload = await make(patient, 10, 'hello')
  const site = await serveMomentary(t, { answerTimeoutMs: 50, folder: patient.folder })
  site.store.gate = new Gate()
  const { status, headers } = await head(site, upload)
  assert.deepEqual([status, headers.get('retry-after')], [423, '1'])
  site.store.gate.open()
  assert.equal(await offsetOf(patient, upload), 5)
})

test('a HEAD of a download says what is the matter, as any client of HTTP may ask for it', async (t) => {
  const site = await serveMomentary(t, { download: {} })
  const upload = await make(site, 5, 'hello')
  site.store.failure = Object.assign(new Error('secret'), { code: 'EMFILE' })
  assert.equal((await ask(site, request(`HEAD ${upload}`), { toHead: true })).status, 503)
})

test('a PATCH that fails for a moment keeps its status, which clients try again', async (t) => {
  const site = await serveMomentary(t)
  const upload = await make(site, 10, 'hello')
  for (const [code, expected] of [
    ['EIO', 500],
    ['EMFILE', 503],
    ['UPLOAD_MOVED_ON', 409],
    ['LOCK_TIMEOUT', 423],
    ['ENOSPC', 507],
  ] as const) {
    site.store.failure = Object.assign(new Error('secret'), { code })
    assert.equal((await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 0']))).status, expected)
  }
})
