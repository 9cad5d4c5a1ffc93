// SPDX-License-Identifier: MIT

/** Checklist T13 and T116: what is offered over a store that can do only what a store must. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FileStore } from '../../lib/file-store/file-store.ts'
import type { UploadStore } from '../../lib/upload/types.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { request } from '../support/wire.ts'
import { ask, head, make, serve, V } from './support.ts'

const OPTIONAL = [
  'createWhole', 'setLength', 'appendVerified', 'flush', 'setDigest', 'read', 'list', 'removeLeftovers',
] as const satisfies readonly (keyof UploadStore)[]

const barest = (files: FileStore): UploadStore =>
  Object.assign(new StoreBehind(files), Object.fromEntries(OPTIONAL.map((name) => [name, undefined])))

test('T13, T116 · over the barest store Tus-Extension is not empty: it lists what every store can do, and that works', async (t) => {
  const site = await serve(t, { store: barest })
  const { headers } = await ask(site, request('OPTIONS /files/'))
  assert.equal(headers.get('tus-extension'), 'creation,creation-with-upload,termination')
  const upload = await make(site, 10, 'hello')
  assert.equal((await ask(site, request(`DELETE ${upload}`, [V]))).status, 204)
  assert.equal((await head(site, upload)).status, 404)
})
