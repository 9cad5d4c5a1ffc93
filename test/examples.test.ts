// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { execFile, fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { PRIMITIVES } from './support/manifest.ts'
import { readExamples, ROOT, sourceOf, type Example } from './support/examples.ts'
import { temporaryFolder } from './support/temporary.ts'
import { exchange, request, WireClient } from './support/wire.ts'

/** An example at work. */
interface Running {
  readonly process: ChildProcess
  /** The port on which its server listens. */
  port(): Promise<number>
  /** Waits until it has printed a line that matches. */
  printed(pattern: RegExp): Promise<void>
  /** Waits for its end; with all that it printed. */
  ended(): Promise<{ readonly code: number | null; readonly stdout: string }>
}

/** What each example is there to show, by what it imports. */
const DEMONSTRATIONS: Readonly<Record<string, (example: Running) => Promise<void>>> = {
  async 'happy-reader'({ port, printed }) {
    const client = await WireClient.connect(await port())
    await client.send(request('POST /', ['Content-Length: 10'], 'hello'))
    client.socket.end()
    await printed(/^5 bytes saved; ABORTED$/m)
    assert.equal((await exchange(await port(), request('POST /', ['Content-Length: 5'], 'hello'))).status, 200)
    await printed(/^5 bytes saved; complete$/m)
  },
  async 'delayed-signal'({ ended }) {
    assert.deepEqual(await ended(), { code: 0, stdout: 'saved\n' })
  },
  async 'request-signal'({ port, printed }) {
    assert.equal((await exchange(await port(), request('GET /'))).status, 200)
    const client = await WireClient.connect(await port())
    await client.send(request('GET /'))
    client.socket.end()
    await printed(/^stopped: The client went away before its response was finished$/m)
  },
  async 'early-response'({ port }) {
    const refused = await exchange(await port(), request('POST /', ['Content-Length: 2000000'], 'the beginning'))
    assert.deepEqual([refused.status, refused.body], [413, 'At most 1 MB\n'])
    assert.equal((await exchange(await port(), request('POST /', ['Content-Length: 5'], 'hello'))).body, 'thank you\n')
  },
  async 'interim-response'({ port }) {
    const client = await WireClient.connect(await port())
    await client.send(request('POST /', ['Content-Length: 10'], 'hello'))
    const { status, headers } = await client.response()
    assert.deepEqual([status, headers.get('upload-offset')], [104, '5'])
    await client.send('world')
    assert.deepEqual([(await client.response()).headers.get('upload-offset'), (await client.response()).body], ['10', '10 bytes\n'])
    client.destroy()
  },
  async 'keyed-lock'({ ended }) {
    assert.deepEqual(await ended(), { code: 0, stdout: '' })
  },
  async 'lock-files'({ ended }) {
    assert.deepEqual(await ended(), { code: 0, stdout: 'handed over\n' })
  },
  async 'file-store'({ ended }) {
    assert.deepEqual(await ended(), { code: 0, stdout: '11\n' })
  },
  async 'happy-reader+shutdown-group'({ port, printed, ended, process }) {
    const client = await WireClient.connect(await port())
    await client.send(request('POST /', ['Content-Length: 10'], 'hello'))
    await printed(/^5 bytes saved$/m)
    process.kill('SIGTERM')
    assert.equal((await client.response()).status, 503)
    assert.equal((await ended()).code, 0)
  },
  async 'file-store+lock-files+upload-handler'({ port, printed }) {
    const create = (headers: string[]) => exchangeAt(request('POST /files/', ['Tus-Resumable: 1.0.0', 'Upload-Length: 0', ...headers]))
    const exchangeAt = async (text: string) => exchange(await port(), text)
    assert.equal((await create([])).headers.get('www-authenticate'), 'Bearer')
    const created = await create(['Authorization: Bearer sesame'])
    assert.deepEqual([created.status, created.body], [201, 'thank you\n'])
    await printed(/^0 bytes are in \(\w+-\w+\)$/m)
    const asked = request(`HEAD ${created.headers.get('location')}`, ['Tus-Resumable: 1.0.0', 'Authorization: Bearer sesame'])
    const { status, headers } = await exchange(await port(), asked, { toHead: true })
    assert.deepEqual(
      [status, headers.get('upload-length'), headers.get('upload-offset')],
      [200, '0', '0'],
      'the file was moved, and the upload is complete',
    )
  },
  async 'file-store+tus'({ port }) {
    const { status, headers } = await exchange(await port(), request('POST /files/', ['Tus-Resumable: 1.0.0', 'Upload-Length: 5']))
    assert.equal(status, 201)
    const upload = await exchange(await port(), request(`HEAD ${headers.get('location')}`, ['Tus-Resumable: 1.0.0']), { toHead: true })
    assert.equal(upload.headers.get('upload-offset'), '0')
  },
  async 'file-store+rufh'({ port }) {
    await beginAndResume(await port())
  },
  async 'file-store+upload-handler'({ port }) {
    await beginAndResume(await port())
    const { status } = await exchange(await port(), request('POST /files/', ['Tus-Resumable: 1.0.0', 'Upload-Length: 5']))
    assert.equal(status, 201)
  },
  async 'file-store+shutdown-group+upload-handler'({ port, ended, process }) {
    const patch = ['Tus-Resumable: 1.0.0', 'Content-Type: application/offset+octet-stream', 'Upload-Offset: 0', 'Content-Length: 10']
    const { headers } = await exchange(await port(), request('POST /files/', ['Tus-Resumable: 1.0.0', 'Upload-Length: 10']))
    const client = await WireClient.connect(await port())
    await client.send(request(`PATCH ${headers.get('location')}`, [...patch, 'Expect: 100-continue']))
    assert.equal((await client.response()).status, 100)
    await client.send('hello')
    process.kill('SIGTERM')
    assert.equal((await client.response()).status, 503)
    client.destroy()
    assert.equal((await ended()).code, 0)
  },
}

/** Begins an upload whose client goes away in the middle, and brings the rest. */
async function beginAndResume(port: number): Promise<void> {
  const client = await WireClient.connect(port)
  await client.send(request('POST /files/', ['Upload-Draft-Interop-Version: 8', 'Upload-Complete: ?1', 'Content-Length: 10'], 'hello'))
  const { status, headers } = await client.response()
  const upload = headers.get('location')
  assert.equal(status, 104)
  client.socket.end()
  const found = await exchange(port, request(`HEAD ${upload}`, ['Upload-Draft-Interop-Version: 8']), { toHead: true })
  assert.deepEqual([found.headers.get('upload-offset'), found.headers.get('upload-complete')], ['5', '?0'])
  const rest = ['Content-Type: application/partial-upload', 'Upload-Offset: 5', 'Upload-Complete: ?1', 'Content-Length: 5']
  assert.equal((await exchange(port, request(`PATCH ${upload}`, rest, 'world'))).headers.get('upload-complete'), '?1')
}

const examples = readExamples()

for (const example of examples) {
  test(`the example of ${example.file} (${example.imports}) does what it shows`, async (t) => {
    const demonstrate = DEMONSTRATIONS[example.imports]
    assert.ok(demonstrate, `nothing demonstrates an example that imports ${example.imports}`)
    await demonstrate(run(t, example))
  })
}

test('every primitive has an example of its own, and the README shows the same', () => {
  const code = (file: string): string[] => examples.filter((example) => example.file === file).map((example) => example.code)
  for (const { files: [entry = ''] } of PRIMITIVES) {
    const [shown] = code(join('lib', entry))
    assert.ok(shown, `lib/${entry} shows no example`)
    assert.ok(code('README.md').includes(shown), `the README shows another example of ${entry}`)
  }
})

/** What runs the blocks of the documents that are no TypeScript, by document and language. */
const RUN_BY: ReadonlyMap<string, readonly string[]> = new Map([
  ['README.md sh', ['.ci/run', 'test/interop/npm-start.js', 'test/interop/rufh-curl.test.js']],
  ['SECURITY.md sh', ['test/fault/confinement.test.ts']],
  ['lib/FRAMEWORKS.md js', ['test/interop/frameworks.test.js']],
  ['lib/OPERATING.md caddyfile', ['test/interop/caddy.test.js']],
  ['lib/OPERATING.md ini', ['test/operating.test.ts']],
  ['lib/OPERATING.md js', ['test/operating.test.ts']],
  ['lib/OPERATING.md nginx', ['test/interop/nginx.js']],
  ['lib/OPERATING.md yaml', ['test/operating.test.ts']],
  ['lib/VENDORING.md sh', ['test/vendoring.test.ts']],
])

test('every block of code in the documents is run by a test: TypeScript by this one, all else by one that reads the document', () => {
  const documents = [
    'README.md',
    'SECURITY.md',
    ...readdirSync(join(ROOT, 'lib'))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join('lib', name)),
  ]
  const found = new Set<string>()
  for (const document of documents) {
    const fences = readFileSync(join(ROOT, document), 'utf8').match(/^ *```.*$/gm) ?? []
    assert.equal(fences.length % 2, 0, document)
    for (const fence of fences.filter((_, index) => index % 2 === 0)) found.add(`${document} ${fence.trim().slice(3)}`)
  }
  assert.deepEqual([...found].filter((block) => !block.endsWith(' ts')).sort(), [...RUN_BY.keys()].sort())
  for (const [block, tests] of RUN_BY) {
    const [document = ''] = block.split(' ')
    for (const path of tests) {
      const text = readFileSync(join(ROOT, path), 'utf8')
      assert.ok(
        document === 'README.md' || text.includes(basename(document)) || text.includes('operating.js'),
        `${path} does not read ${document}`,
      )
    }
  }
})

test('the commands of the README are those that tests and CI run', () => {
  const blocks = Array.from(readFileSync(join(ROOT, 'README.md'), 'utf8').matchAll(/^```sh\n([^]*?)\n```$/gm), ([, block]) => block)
  const [start, upload = '', resume = '', ...others] = blocks
  assert.equal(start, 'npm ci && npm start')
  assert.match(`${upload}\n${resume}`, /^curl [^]*^address=[^]*curl /m) // test/interop/rufh-curl.test.js runs them
  assert.deepEqual(others, ['npm ci && npm test', 'npm run test:fault', 'npm run bench -- --check'])
  const ci = readFileSync(join(ROOT, '.ci', 'run'), 'utf8')
  assert.match(ci, /^npm ci$[^]*^npx c8 npm test$[^]*^npm run bench -- --quick /m)
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
  assert.match(readFileSync(join(ROOT, 'test', 'interop', 'npm-start.js'), 'utf8'), /spawn\('npm', args/)
  for (const name of ['start', 'test', 'test:fault', 'bench']) assert.ok(scripts[name], name)
})

test('every example passes the type-checker under strict settings', async (t) => {
  const folder = temporaryFolder(t)
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  for (const [index, { code }] of examples.entries()) writeFileSync(join(folder, `example-${index}.ts`), code)
  const subpaths = new Set(examples.flatMap(({ imports }) => imports.split('+')))
  const paths = Object.fromEntries(Array.from(subpaths, (subpath) => [`longhaul/${subpath}`, [sourceOf(subpath)]]))
  const compilerOptions = { noEmit: true, rootDir: '/', isolatedDeclarations: false, noImplicitReturns: false, paths }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), compilerOptions, include: ['*.ts'] }))
  const { stdout } = await promisify(execFile)(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', folder]).catch(
    (error: { stdout: string }) => error,
  )
  assert.equal(stdout, '')
})

/** Runs an example in an empty folder, with the package's sources in place of the package. */
function run(t: TestContext, { code }: Example): Running {
  const folder = temporaryFolder(t)
  const path = join(folder, 'example.mts')
  writeFileSync(path, code.replace(/'longhaul\/([^']+)'/g, (_, subpath: string) => JSON.stringify(pathToFileURL(sourceOf(subpath)).href)))
  const execArgv = ['--import', import.meta.resolve('tsx'), '--import', new URL('support/any-port.ts', import.meta.url).href]
  const child = fork(path, { cwd: folder, execArgv, stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
  t.after(() => child.kill('SIGKILL'))

  let stdout = ''
  let wake: (() => void) | undefined
  child.stdout?.on('data', (chunk) => {
    stdout += chunk
    wake?.()
  })
  const closed = once(child, 'close')
  const listening = once(child, 'message').then(([port]) => port as number)
  return {
    process: child,
    port: () => Promise.race([listening, closed.then(() => Promise.reject(new Error(`The example ended: ${stdout}`)))]),
    printed: async (pattern) => {
      while (!pattern.test(stdout)) await new Promise<void>((resolve) => (wake = resolve))
    },
    ended: async () => ({ code: (await closed)[0] as number | null, stdout }),
  }
}
