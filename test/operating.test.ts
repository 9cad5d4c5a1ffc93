// SPDX-License-Identifier: MIT

/** What lib/OPERATING.md says of services, clusters, backups and metrics. Its proxies and its moves have tests in test/interop. */

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parseCommand, type ServeOptions } from '../lib/cli/options.ts'
import { ROOT } from './support/examples.ts'
import { startProgram } from './support/program.ts'
import { contentOf } from './support/stored-content.ts'
import { temporaryFolder } from './support/temporary.ts'
import { exchange, request } from './support/wire.ts'
import { head, make, OCT, serve, V } from './tus/support.ts'

const DOCUMENT = readFileSync(join(ROOT, 'lib/OPERATING.md'), 'utf8')
/** How long the program may take to stop: the deadline of its `ShutdownGroup`, and the last lines of the log. */
const STOP_MS =
  constant('lib/shutdown-group.ts', /\bdeadlineMs(?: =| \?\?) ([\d_]+)/) + constant('lib/cli/main.ts', /LOG_FLUSH_MS = ([\d_]+)/)
/** Every block, and the test that takes it from the page. */
const TESTED_IN: Readonly<Record<string, string>> = {
  nginx: 'test/interop/nginx.test.js', caddyfile: 'test/interop/caddy.test.js',
  ini: 'test/operating.test.ts', yaml: 'test/operating.test.ts', js: 'test/operating.test.ts',
}

test('every block of the page is of one language each, and is named with its test', () => {
  const languages = Array.from(DOCUMENT.matchAll(/^```(\w+)$/gm), ([, language]) => language!)
  assert.deepEqual(languages.sort(), Object.keys(TESTED_IN).sort())
  for (const path of Array.from(DOCUMENT.matchAll(/`(test\/[\w./-]+)`/g), ([, path]) => path!)) {
    assert.ok(existsSync(join(ROOT, path)), path)
  }
  for (const path of Object.values(TESTED_IN)) assert.ok(DOCUMENT.includes(`\`${path}\``), path)
})

test('the unit starts the program with arguments that it takes, and leaves it the time that stopping takes', (t) => {
  const unit = block('ini')
  const settings = new Map(Array.from(unit.matchAll(/^(\w+)=(.*)$/gm), ([, name, value]) => [name!, value!]))
  const [node, ...words] = settings.get('ExecStart')!.split(' ')
  const options = served(words)
  assert.equal(node, '/usr/bin/node')
  assert.equal(options.dir, `/var/lib/${settings.get('StateDirectory')}`)
  assert.ok(seconds(settings.get('TimeoutStopSec')!) * 1000 > STOP_MS, `stopping may take ${STOP_MS} ms`)
  assert.equal(options.lock, 'file')
  assert.match(settings.get('RestrictAddressFamilies')!, /\bAF_UNIX\b/)

  const file = join(temporaryFolder(t), 'longhaul.service')
  writeFileSync(file, unit.replace('/usr/bin/node', process.execPath))
  const { error, status, stderr } = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' })
  if (error) t.diagnostic(`not verified: ${error.message}`)
  else assert.deepEqual([status, stderr.split('\n').filter((line) => line.includes('longhaul.service'))], [0, []])
})

test('the pod starts the program with arguments that it takes, and leaves it the time that stopping takes', () => {
  const pod = block('yaml')
  const options = served([...list(pod, 'command').slice(1), ...list(pod, 'args')])
  assert.equal(options.host, '0.0.0.0')
  assert.equal(options.dir, /mountPath: (\S+) /.exec(pod)?.[1])
  assert.equal(options.port, Number(/port: (\d+)/.exec(pod)?.[1]))
  const [, sleep] = /preStop:.*\[sleep, '(\d+)'\]/.exec(pod)!
  const graceMs = Number(/terminationGracePeriodSeconds: (\d+)/.exec(pod)?.[1]) * 1000
  assert.ok(graceMs > Number(sleep) * 1000 + STOP_MS, `stopping may take ${STOP_MS} ms behind the ${sleep} s`)
})

test('the probe of the pod is answered 200 while the program serves, and finds nobody once it stops', async (t) => {
  const { port, process, exit } = await startProgram(t, ['--dir', temporaryFolder(t), '--log', 'none'])
  const path = /httpGet: \{ path: (\S+),/.exec(block('yaml'))![1]
  assert.equal((await exchange(port, request(`GET ${path}`))).status, 200)
  assert.equal((await exchange(port, request('GET /files/'))).status, 405)

  const { headers } = await exchange(port, request('POST /files/', [V, 'Upload-Length: 10']))
  const uploading = connect(port, '127.0.0.1')
  uploading.write(request(`PATCH ${headers.get('location')}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10', 'Expect: 100-continue']))
  await once(uploading, 'data')
  process.kill('SIGTERM')
  const [answer] = (await once(uploading, 'data')) as [Buffer] // it is still there, as the client has not closed
  const refused = once(connect(port, '127.0.0.1'), 'error')
  assert.match(answer.toString(), /^HTTP\/1.1 503 /)
  assert.equal(((await refused)[0] as NodeJS.ErrnoException).code, 'ECONNREFUSED')
  uploading.destroy()
  assert.equal((await exit).code, 0)
})

test('a copy that takes the sidecars first has every byte that came in between; one that takes them last is found out', async (t) => {
  for (const first of ['sidecar', 'data'] as const) {
    const site = await serve(t)
    const location = await make(site, 11, 'hello ')
    const id = location.split('/').at(-1)!
    const copy = temporaryFolder(t)
    const take = {
      sidecar: () => copyFileSync(join(site.folder, `${id}.info`), join(copy, `${id}.info`)),
      data: () => copyFileSync(join(site.folder, id), join(copy, id)),
    }
    take[first]()
    assert.equal(
      (await exchange(site.port, request(`PATCH ${location}`, [V, OCT, 'Upload-Offset: 6', 'Content-Length: 5'], 'world'))).status,
      204,
    )
    take[first === 'data' ? 'sidecar' : 'data']()

    const restored = await serve(t, { folder: copy })
    const { status, headers } = await head(restored, location)
    if (first === 'sidecar') {
      assert.deepEqual([status, headers.get('upload-offset')], [200, '11'])
      assert.equal(contentOf(restored, location).toString(), 'hello world')
    } else {
      assert.equal(status, 500)
    }
  }
})

test('the counts count what happens, without a change of the program', async (t) => {
  const file = join(temporaryFolder(t), 'counts.mjs')
  writeFileSync(file, block('js'))
  const main = fileURLToPath(new URL('../lib/cli/main.ts', import.meta.url))
  const child = spawn(process.execPath, [
    '--import', 'tsx', '--import', file, main, '--port', '0', '--allowed-host', 'test', '--dir',
    temporaryFolder(t),
  ])
  t.after(() => child.kill('SIGKILL'))
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  const port = Number(/:(\d+)\//.exec(line)?.[1])

  for (const length of [0, 0, 5]) assert.equal((await exchange(port, request('POST /files/', [V, `Upload-Length: ${length}`]))).status, 201)
  child.kill('SIGUSR2')
  const [counts] = (await once(createInterface({ input: child.stderr }), 'line')) as [string]
  assert.deepEqual(JSON.parse(counts), { create: 3, append: 0, interrupt: 0, finish: 2, reject: 0, terminate: 0, expire: 0, error: 0 })
})

function block(language: string): string {
  return new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'm').exec(DOCUMENT)![1]!
}

/** The words behind the script, as the program reads them. */
function served(words: readonly string[]): ServeOptions {
  const script = words.findIndex((word) => word.endsWith('dist/cli/main.js'))
  assert.deepEqual(words.slice(0, script), ['--max-semi-space-size=2'])
  const command = parseCommand(words.slice(script + 1))
  assert.equal(command.kind, 'serve', JSON.stringify(command))
  return (command as { options: ServeOptions }).options
}

/** The words of a list in YAML's brackets. */
function list(pod: string, name: string): string[] {
  return new RegExp(`^ +${name}: \\[(.*)\\]$`, 'm').exec(pod)![1]!.split(', ')
}

function seconds(text: string): number {
  return Number(/^(\d+)s$/.exec(text)?.[1])
}

function constant(file: string, pattern: RegExp): number {
  return Number(pattern.exec(readFileSync(join(ROOT, file), 'utf8'))![1]!.replaceAll('_', ''))
}
