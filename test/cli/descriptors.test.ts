// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { capacityOf } from '../../lib/cli/descriptors.ts'
import { ROOT } from '../support/examples.ts'

for (const [limit, capacity] of [
  [undefined, { maxConcurrent: 10_000, maxConnections: undefined }],
  [1024, { maxConcurrent: 179, maxConnections: 358 }],
  [4096, { maxConcurrent: 793, maxConnections: 1587 }],
  [65_536, { maxConcurrent: 10_000, maxConnections: 27_704 }],
  [0, { maxConcurrent: 1, maxConnections: 2 }],
] as const) {
  test(`${limit ?? 'no'} descriptors are enough for ${JSON.stringify(capacity)}`, () => assert.deepEqual(capacityOf(limit), capacity))
}

test('connections with a file each, and another file for each body, fit below any limit, and there are more connections than bodies', () => {
  fc.assert(fc.property(fc.integer({ min: 160, max: 2 ** 31 }), (limit) => {
    const { maxConcurrent, maxConnections = NaN } = capacityOf(limit)
    assert.ok(maxConcurrent >= 1 && maxConnections >= 2 * maxConcurrent)
    assert.ok(2 * maxConnections + maxConcurrent < limit)
  }))
})

test('a number of bodies that was asked for is kept, and each of them has a connection', () => {
  fc.assert(
    fc.property(
      fc.option(fc.integer({ min: 1, max: 2 ** 31 }), { nil: undefined }),
      fc.integer({ min: 1, max: 999_999 }),
      (limit, asked) => {
        const { maxConcurrent, maxConnections } = capacityOf(limit, asked)
        assert.equal(maxConcurrent, asked)
        assert.ok(maxConnections === undefined ? limit === undefined : maxConnections >= asked)
      },
    ),
  )
})

test('the limit is the one that the process has', async () => {
  const script = `import { readDescriptorLimit } from ${JSON.stringify(join(ROOT, 'lib/cli/descriptors.ts'))}; console.log(readDescriptorLimit())`
  const { stdout } = await promisify(execFile)(
    'sh',
    ['-c', `ulimit -n 300; exec "$0" --import tsx --input-type=module --eval "$1"`, process.execPath, script],
    { cwd: ROOT },
  )
  assert.equal(stdout, '300\n')
})
