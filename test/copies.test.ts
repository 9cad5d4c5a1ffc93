// SPDX-License-Identifier: MIT

/** Each primitive, copied alone into the code base of somebody else. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { ROOT } from './support/examples.ts'
import { PRIMITIVES, primitiveOf } from './support/manifest.ts'
import { temporaryFolder } from './support/temporary.ts'

const run = promisify(execFile)

for (const { files } of PRIMITIVES) {
  const entry = files[0]!
  test(`${primitiveOf(entry)}, copied alone into an empty folder, type-checks there and runs, in a module and in a CommonJS host`, async (t) => {
    for (const type of ['module', 'commonjs']) {
      const folder = temporaryFolder(t)
      copyUnit(files, folder)
      writeFileSync(join(folder, 'package.json'), JSON.stringify({ type }))
      writeFileSync(join(folder, 'use.mts'), `import * as all from './${entry.replace(/\.ts$/, '.js')}'\nconsole.log(Object.keys(all).join())\n`)
      const names = files.length === 1 ? {} : { rewriteRelativeImportExtensions: true }
      const compilerOptions = { ...VENDOR_OPTIONS, ...names, rootDir: '.', types: ['node'], typeRoots: [join(ROOT, 'node_modules/@types')] }
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['**/*.ts', '*.mts'], exclude: ['out'] }))
      const { stdout: complaints } = await run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', folder]).catch(
        (error: { stdout: string }) => error,
      )
      assert.equal(complaints, '')
      const { stdout } = await run(process.execPath, [join(folder, 'out', 'use.mjs')])
      assert.match(stdout, /\w/)
    }
  })
}

function copyUnit(files: readonly string[], folder: string): void {
  for (const name of files) cpSync(join(ROOT, 'lib', name), join(folder, name))
}

/** A host that is as strict as a host can be, and has nothing but Node's types. */
const VENDOR_OPTIONS = {
  target: 'es2022',
  lib: ['es2022', 'esnext.disposable'],
  module: 'nodenext',
  outDir: 'out',
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  noImplicitReturns: true,
  noPropertyAccessFromIndexSignature: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
  isolatedModules: true,
  erasableSyntaxOnly: true,
}

test('a primitive that was copied alone runs from its source, where Node runs TypeScript', async (t) => {
  const runsTypeScript = (process.features as { typescript?: unknown }).typescript
  for (const { files } of PRIMITIVES) {
    const folder = temporaryFolder(t)
    copyUnit(files, folder)
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
    writeFileSync(join(folder, 'use.mjs'), `import * as all from './${files[0]!}'\nconsole.log(Object.keys(all).join())\n`)
    const loader = runsTypeScript ? [] : ['--import', 'tsx']
    const { stdout } = await run(process.execPath, [...loader, 'use.mjs'], { cwd: folder })
    assert.match(stdout, /\w/)
  }
})
