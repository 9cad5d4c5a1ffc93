// SPDX-License-Identifier: MIT

/**
 * curl as a client of Resumable Uploads for HTTP, over HTTP/1.1 and HTTP/2. It knows nothing of them: two headers
 * make its transfer one that can be resumed, and where it left off it goes on by two commands, as `sendRest` does.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer as createHttp2Server } from 'node:http2'
import { join } from 'node:path'
import { test } from 'node:test'
import { FileStore, uploadHandler } from '../../dist/index.js'
import { npmStart } from './npm-start.js'
import { assertArrived, HEADS_BYTES, MB, startProxy, temporaryFolder } from './uploading.js'

const SOURCE = randomBytes(20 * MB)
const DRAFT = ['-H', 'Upload-Draft-Interop-Version: 9']
const RESUMABLE = ['-H', 'Upload-Complete: ?1', ...DRAFT]

/** The program speaks HTTP/1.1 alone, so HTTP/2 has a server that is made here. */
const VERSIONS = [
  { http: 'HTTP/1.1', flags: ['--http1.1'], missing: whatIsMissing(), start: (t, dir) => npmStart(t, { dir }) },
  { http: 'HTTP/2', flags: ['--http2-prior-knowledge'], missing: whatIsMissing('HTTP2'), start: startHttp2 },
]

/** How curl sends a whole file, and how it sends what a script hands it. To a URL that ends with a slash, -T adds the file's name. */
const WAYS = [
  { flag: '-T', path: '/files', whole: (file) => ['-T', file], rest: ['-T', '-'] }, // PUT, and content of unknown length
  { flag: '--data-binary', path: '/files/', whole: (file) => ['--data-binary', `@${file}`], rest: ['--data-binary', '@-'] },
]

test(
  'The commands of the README upload a file, and bring the rest of one that was cut',
  { timeout: 120_000, skip: process.env.CI ? undefined : whatIsMissing() },
  async (t) => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
    const [upload, resume] = Array.from(readme.matchAll(/^```sh\n([^]*?)^```$/gm), ([, block]) => block).filter((block) =>
      block.includes('curl'),
    )
    const { dir, proxy, endpoint, file } = await startServer(
      t,
      { start: (t, dir) => npmStart(t, { dir }) },
      { path: '/files', cuts: [{ atBytes: 8 * MB, by: 'FIN' }] },
    )
    const run = (command) => shell(t, command.replaceAll(/\bFILE\b/g, file).replaceAll('http://127.0.0.1:1080/files', endpoint))

    const { stdout } = await run(upload)
    const url = addressIn(stdout, endpoint)
    assert.equal(proxy.made.length, 1)
    const answer = await run(resume.replace('/files/ID', `/files/${url.split('/').at(-1)}`))

    assert.match(answer.stdout, /^HTTP\/1\.1 200 /m)
    assertArrived(dir, { url }, SOURCE)
  },
)

for (const { http, flags, missing, start } of VERSIONS) {
  const limits = { timeout: 120_000, skip: process.env.CI ? undefined : missing } // CI has to have it

  for (const { flag, path, whole, rest } of WAYS) {
    test(`curl ${flag}: a transfer that is not cut is told its address ahead of the answer, which -v, -i and -D show (${http})`, limits, async (t) => {
      const { dir, endpoint, file } = await startServer(t, { start, missing }, { path })
      const dump = join(temporaryFolder(t), 'heads')

      const transfer = curl(t, [...flags, '-v', '-i', '-D', dump, ...RESUMABLE, ...whole(file), endpoint])
      const { exitCode, stdout, stderr } = await transfer.ended

      assert.equal(exitCode, 0, stderr)
      const [upgrade, answer] = [headsOf(stdout).find(({ status }) => status === 104), headsOf(stdout).at(-1)]
      assert.equal(answer.status, 200)
      assert.equal(answer.headers['upload-complete'], '?1')
      assert.equal(answer.headers['location'], upgrade.headers['location'])
      assert.equal(upgrade.headers['upload-draft-interop-version'], '9')
      assert.deepEqual(headsOf(readFileSync(dump, 'utf8')), headsOf(stdout))
      assert.match(stderr, /^< HTTP\/[0-9.]+ 104\b/m)
      assertArrived(dir, { url: new URL(upgrade.headers['location'], endpoint) }, SOURCE)
    })

    test(`curl ${flag}: a transfer that is cut by FIN, and again by RST, is resumed each time and arrives whole (${http})`, limits, async (t) => {
      const cuts = [{ atBytes: 8 * MB, by: 'FIN' }, { atBytes: 14 * MB, by: 'RST' }]
      const { dir, endpoint, file, proxy } = await startServer(t, { start, missing }, { path, cuts })

      const { exitCode, stdout } = await curl(t, [...flags, '-D', '-', ...RESUMABLE, ...whole(file), endpoint]).ended
      assert.notEqual(exitCode, 0)
      const url = addressIn(stdout, endpoint)
      const first = await sendRest(t, { flags, rest, url })
      const second = await sendRest(t, { flags, rest, url })

      assert.deepEqual(proxy.made, cuts)
      assert.ok(
        first.offset > 8 * MB - HEADS_BYTES && first.offset < 8 * MB,
        `all that came before the FIN must be stored: resumed at ${first.offset}`,
      )
      assert.notEqual(first.exitCode, 0)
      assert.ok(second.offset >= first.offset, `nothing that was stored may be lost again: resumed at ${first.offset}, then at ${second.offset}`)
      assertFinished(second.answer)
      assertArrived(dir, { url }, SOURCE)
    })

    test(`curl ${flag}: what came of a transfer whose curl is killed is stored, and the rest is taken (${http})`, limits, async (t) => {
      const cut = { atBytes: 8 * MB, by: 'silence' }
      const { dir, endpoint, file, proxy } = await startServer(t, { start, missing }, { path, cuts: [cut] })

      const transfer = curl(t, [...flags, '-D', '-', ...RESUMABLE, ...whole(file), endpoint])
      await Promise.race([once(proxy, 'cut'), transfer.ended])
      transfer.program.kill('SIGKILL')
      const { signal, stdout } = await transfer.ended
      const url = addressIn(stdout, endpoint)
      const { offset, answer } = await sendRest(t, { flags, rest, url })

      assert.equal(signal, 'SIGKILL')
      assert.ok(offset > cut.atBytes - HEADS_BYTES && offset < cut.atBytes, `all that had arrived must be stored: resumed at ${offset}`)
      assertFinished(answer)
      assertArrived(dir, { url }, SOURCE)
    })
  }
}

/** Asks how much of the upload is there, and sends what is missing: all that resuming takes. */
async function sendRest(t, { flags, rest, url }) {
  const asked = await curl(t, [...flags, '--head', ...DRAFT, url]).ended
  const [state] = headsOf(asked.stdout)
  assert.deepEqual([state?.status, state?.headers['upload-complete']], [204, '?0'], asked.stderr)
  const offset = Number(state.headers['upload-offset'])

  const about = ['-H', 'Content-Type: application/partial-upload', '-H', `Upload-Offset: ${offset}`]
  const sent = await curl(t, [...flags, '-D', '-', '-X', 'PATCH', ...RESUMABLE, ...about, ...rest, url], SOURCE.subarray(offset)).ended
  return { offset, exitCode: sent.exitCode, answer: headsOf(sent.stdout).at(-1) }
}

function assertFinished(answer) {
  assert.deepEqual(
    [answer?.status, answer?.headers['upload-complete'], answer?.headers['upload-offset']],
    [200, '?1', String(SOURCE.length)],
  )
}

/** The address that an interim response told before the transfer was cut; what else curl was told is no answer. */
function addressIn(output, endpoint) {
  const heads = headsOf(output)
  assert.deepEqual(heads.filter(({ status }) => status >= 200), [])
  return new URL(heads.find(({ status }) => status === 104).headers['location'], endpoint).href
}

/** The heads of responses in what curl wrote, interim ones included. */
function headsOf(output) {
  const blocks = output.split('\r\n\r\n').filter((block) => block.startsWith('HTTP/'))
  return blocks.map((block) => {
    const [statusLine, ...lines] = block.split('\r\n')
    const fields = lines.map((line) => /^([^:]+): *(.*)$/.exec(line).slice(1))
    return {
      status: Number(statusLine.split(' ')[1]),
      headers: Object.fromEntries(fields.map(([name, value]) => [name.toLowerCase(), value])),
    }
  })
}

/** Runs curl, as it is without a configuration or a proxy of the machine's. */
function curl(t, args, input = '') {
  return observe(t, spawn('curl', ['-q', '--noproxy', '*', '--silent', '--show-error', ...args]), input)
}

/** Runs a command, as it is without a proxy of the machine's, to its end. */
function shell(t, command) {
  return observe(t, spawn('sh', ['-c', command], { env: { ...process.env, NO_PROXY: '*', no_proxy: '*' } }), '').ended
}

function observe(t, program, input) {
  t.after(() => program.kill('SIGKILL'))
  program.stdin.on('error', () => {}) // it has ended before it read all
  program.stdin.end(input)
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr']) program[name].setEncoding('latin1').on('data', (text) => (output[name] += text))
  const ended = once(program, 'close').then(([exitCode, signal]) => ({ exitCode, signal, ...output }))
  return { program, ended }
}

/** Why curl, or a feature of it, cannot be tested. */
function whatIsMissing(feature) {
  const { error, stdout } = spawnSync('curl', ['-q', '--version'], { encoding: 'utf8' })
  if (error) return `curl cannot be run (${error.code}): install the package curl`
  const features = /^Features: (.*)$/m.exec(stdout)?.[1].split(' ') ?? []
  return feature === undefined || features.includes(feature) ? undefined : `this curl was built without ${feature}`
}

/** Starts a server and a proxy with these cuts in front of it, and writes the source to a file. */
async function startServer(t, { start, missing }, { path, cuts }) {
  if (missing) throw new Error(missing)
  const dir = temporaryFolder(t)
  const file = join(temporaryFolder(t), 'source.bin')
  writeFileSync(file, SOURCE)
  return { dir, file, ...(await startProxy(t, await start(t, dir), { path, cuts })) }
}

/** A server of HTTP/2 without TLS. */
async function startHttp2(t, dir) {
  const uploads = uploadHandler({ store: new FileStore(dir) })
  const server = createHttp2Server(uploads)
  t.after(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: server.address().port }
}
