// SPDX-License-Identifier: MIT

/**
 * Uses everything that the package exports, rightly and then wrongly: a type that had become `any` would take the wrong
 * use as well, and leave its `@ts-expect-error` without an error, which is one.
 *
 * `package.test.js` compiles this file as an ES module, as CommonJS and for bundlers; it is never run.
 *
 * @module
 */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import {
  INLINE_MEDIA_TYPES, UploadError, type AppendOptions, type Completion, type CorsOptions, type CreationChoices, type ExpirationPolicy,
  type FinishAnswer, type FinishDetails, type HandlerOptions, type InteropVersion, type InterruptReason, type Lock,
  type Locker, type LockOptions, type NewUpload, type Operation, type Outcome, type SweepReport,
  type Upload, type UploadDescription, type UploadDigest, type UploadErrorCode, type UploadHandler, type UploadHooks,
  type UploadRequest, type UploadResponse, type UploadState, type UploadStore, type VerifiedAppendOptions,
} from 'longhaul'
import { delayedSignal, type DelayedSignal, type DelayedSignalOptions } from 'longhaul/delayed-signal'
import { respondEarly, type EarlyResponse } from 'longhaul/early-response'
import {
  FileStore,
  FileStoreError,
  type FileStoreAppendOptions,
  type FileStoreErrorCode,
  type FileStoreOptions,
  type FileStoreVerifiedAppendOptions,
  type NewStoredUpload,
  type StoredCompletion,
  type StoredDigest,
  type StoredMark,
  type StoredOutcome,
  type StoredUpload,
  type StoredUploadState,
  type Tenure,
} from 'longhaul/file-store'
import { HappyReader, HappyReaderError, type HappyReaderErrorCode, type HappyReaderOptions } from 'longhaul/happy-reader'
import { sendInterim, type InterimResponse } from 'longhaul/interim-response'
import { KeyedLock, KeyedLockError, type KeyedLockAcquireOptions, type KeyedLockErrorCode, type KeyedLockHold } from 'longhaul/keyed-lock'
import {
  LockFiles, LockFilesError, type LockFilesAcquireOptions, type LockFilesErrorCode, type LockFilesHold, type LockFilesOptions,
  type LockFilesTenure,
} from 'longhaul/lock-files'
import { RequestAbortedError, requestSignal, type RequestAbortedErrorCode } from 'longhaul/request-signal'
import { rufh, rufhHandler, type RufhHandlerOptions, type RufhOptions } from 'longhaul/rufh'
import {
  ShutdownError, ShutdownGroup, type ShutdownGroupOptions, type ShutdownReport, type ShutdownServer, type ShutdownState,
} from 'longhaul/shutdown-group'
import { tus, tusHandler, type TusHandlerOptions, type TusOptions } from 'longhaul/tus'
import { uploadHandler, type UploadHandlerOptions } from 'longhaul/upload-handler'

declare const req: IncomingMessage
declare const res: ServerResponse
declare const stored: StoredUpload
declare const upload: Upload
const signal = AbortSignal.timeout(1000)

/** Compiles where `value` is a `T`. */
function takes<T>(value: T): void {
  void value
}

/** Compiles where `value` is not `any`, and passes it on. */
function known<T>(value: T, ..._: 0 extends 1 & T ? [never] : []): T {
  return value
}

takes<HappyReaderOptions>({ maxBytes: 1, expectedBytes: 1, idleTimeoutMs: 1, signal, highWaterMark: undefined })
// @ts-expect-error Bytes are counted.
takes<HappyReaderOptions>({ maxBytes: '1 MB' })
const reader = new HappyReader(Readable.from([]), { signal })
takes<Readable>(reader)
// @ts-expect-error A body is a stream.
new HappyReader('body')
takes<HappyReaderErrorCode | undefined>(known(reader.error?.code))
// @ts-expect-error It has no such reason.
takes<HappyReaderErrorCode>('LATE')
takes<Error>(new HappyReaderError('SHORT', 'too short'))
// @ts-expect-error An error has a code.
new HappyReaderError('too short')

takes<DelayedSignalOptions>({ ref: false })
// @ts-expect-error A yes or a no.
takes<DelayedSignalOptions>({ ref: 1 })
takes<AbortSignal & DelayedSignal>(known(delayedSignal(signal, 1000)))
// @ts-expect-error An AbortSignal alone cannot be disposed of.
takes<DelayedSignal>(signal)
// @ts-expect-error How late is said in milliseconds.
delayedSignal(signal, '1 s')

takes<AbortSignal>(known(requestSignal(req, res)))
// @ts-expect-error A response belongs to it.
requestSignal(req)
takes<RequestAbortedErrorCode>(new RequestAbortedError('REQUEST_ABORTED', 'gone').code)
// @ts-expect-error It has no such reason.
takes<RequestAbortedErrorCode>('ABORTED')
// @ts-expect-error An error has a code.
new RequestAbortedError()

takes<EarlyResponse>({ status: 413, headers: { 'Retry-After': 1 }, body: 'too large' })
// @ts-expect-error An answer has a status.
takes<EarlyResponse>({ body: 'too large' })
takes<EarlyResponse>({ status: 413, lingerMs: 1, drain: async (until) => until.aborted })
// @ts-expect-error Time is in milliseconds.
takes<EarlyResponse>({ status: 413, lingerMs: '1 s' })
takes<Promise<void>>(known(respondEarly(req, res, { status: 413 })))
// @ts-expect-error An answer is said in words.
respondEarly(req, res, 413)

takes<InterimResponse>({ status: 104, headers: { 'Upload-Offset': 0 } })
// @ts-expect-error A header is text or a number.
takes<InterimResponse>({ status: 104, headers: { 'Upload-Complete': false } })
takes<boolean>(known(sendInterim(req, res, { status: 104 })))
// @ts-expect-error It has a status.
sendInterim(req, res, {})

takes<KeyedLockAcquireOptions>({ signal, timeoutMs: 1, onReleaseRequest() {} })
// @ts-expect-error It is a function.
takes<KeyedLockAcquireOptions>({ onReleaseRequest: true })
takes<Promise<KeyedLockHold>>(known(new KeyedLock().acquire('key')))
// @ts-expect-error A hold is released.
takes<KeyedLockHold>({})
// @ts-expect-error A key is text.
void new KeyedLock().acquire(1)
takes<KeyedLockErrorCode>(new KeyedLockError('LOCK_TIMEOUT', 'late', { cause: 1 }).code)
// @ts-expect-error It has that code and no other.
takes<'TIMEOUT'>(new KeyedLockError('LOCK_TIMEOUT', 'late').code)

takes<LockFilesOptions>({ leaseMs: 1 })
// @ts-expect-error Time is in milliseconds.
takes<LockFilesOptions>({ leaseMs: '1 s' })
takes<LockFilesAcquireOptions>({ signal, timeoutMs: 1, onReleaseRequest() {} })
// @ts-expect-error Time is in milliseconds.
takes<LockFilesAcquireOptions>({ timeoutMs: '1 s' })
takes<Promise<LockFiles>>(known(LockFiles.open('locks', { leaseMs: 1 })))
// @ts-expect-error Locks are opened, which takes a while.
new LockFiles('locks')
takes<Promise<void>>(known(({} as LockFilesHold).release()))
takes<LockFilesTenure>(known(({} as LockFilesHold).tenure))
// @ts-expect-error A hold is released.
takes<LockFilesHold>({})
takes<LockFilesErrorCode>(new LockFilesError('LOCKS_CLOSED', 'closed', { cause: 1 }).code)
// @ts-expect-error It has no such reason.
new LockFilesError('CLOSED', 'closed')

takes<FileStoreOptions>({ sync: 'append', shared: true })
// @ts-expect-error It cannot flush at that time.
takes<FileStoreOptions>({ sync: 'always' })
takes<NewStoredUpload>({ length: undefined, metadata: new Map([['name', 'a']]) })
// @ts-expect-error A length is a number, or not known.
takes<NewStoredUpload>({ length: '11' })
const store = new FileStore('uploads', { sync: 'finish' })
takes<Tenure>({ ended: false })
takes<Promise<StoredUpload | undefined>>(known(store.find('id')))
// @ts-expect-error A directory is named.
new FileStore()
takes<Promise<number>>(known(store.append(stored, Readable.from([]), { signal })))
takes<FileStoreAppendOptions>({ onProgress: (offset) => offset.toFixed() })
// @ts-expect-error An offset is a number.
takes<FileStoreAppendOptions>({ onProgress: (offset: string) => offset })
takes<number>(known(stored.offset))
// @ts-expect-error A stored upload is read, not written.
stored.offset = 0
takes<StoredUploadState>(known(stored.state))
// @ts-expect-error There is no such state.
takes<StoredUploadState>('done')
takes<StoredCompletion | undefined>(known(stored.completion))
// @ts-expect-error Nothing else makes it complete.
takes<StoredCompletion>('never')
takes<StoredDigest>({ algorithm: 'sha256', value: undefined })
// @ts-expect-error A digest has an algorithm.
takes<StoredDigest>({})
takes<StoredOutcome>({ headers: {}, body: '' })
// @ts-expect-error A body is text.
takes<StoredOutcome>({ headers: {}, body: Buffer.from('') })
takes<StoredMark>({ offset: 0 })
// @ts-expect-error A mark has an offset.
takes<StoredMark>({})
takes<FileStoreErrorCode>(new FileStoreError('STORE_FULL', 'full').code)
// @ts-expect-error It has no such reason.
takes<FileStoreErrorCode>('FULL')
// @ts-expect-error It has no such reason.
new FileStoreError('FULL', 'full')

takes<ShutdownGroupOptions>({ deadlineMs: 1, readinessDelayMs: 1 })
// @ts-expect-error Time is in milliseconds.
takes<ShutdownGroupOptions>({ deadlineMs: '1 s' })
// @ts-expect-error There is no such state.
takes<ShutdownState>('stopped')
const group = new ShutdownGroup({ deadlineMs: 1 })
takes<ShutdownServer>(createServer())
// @ts-expect-error A server is one of Node's.
takes<ShutdownServer>({ close() {} })
takes<ShutdownGroup>(known(group.add(createServer())))
// @ts-expect-error A server is one of Node's.
group.add({})
takes<Promise<ShutdownReport>>(known(group.shutdown()))
takes<'deadline' | 'signal' | 'call' | undefined>(known(({} as ShutdownReport).forced))
takes<ShutdownState>(group.state)
// @ts-expect-error It was forced by something.
takes<boolean>(({} as ShutdownReport).forced)
takes<'SHUTDOWN'>(new ShutdownError('stopped').code)
// @ts-expect-error It has that code and no other.
takes<'STOPPED'>(new ShutdownError('stopped').code)

const hooks: UploadHooks = {
  authorize(operation, request) {
    takes<UploadRequest>(request)
    if (operation.kind === 'create') takes<UploadDescription>(operation.description)
    else takes<string>(operation.id)
  },
  onCreate: ({ length }) => takes<number | undefined>(length),
  onFinish: (finished, details) => ({ body: `${finished.length} ${details.idempotencyKey}` }),
}
// @ts-expect-error A hook is a function.
takes<UploadHooks>({ onFinish: true })
// @ts-expect-error There is no such operation.
takes<Operation>({ kind: 'update' })
takes<UploadRequest>(req)
// @ts-expect-error It is a request of Node's.
takes<UploadRequest>(new Request('http://localhost'))
takes<UploadResponse>(res)
// @ts-expect-error It is a response of Node's.
takes<UploadResponse>(new Response())
takes<UploadDescription>({ length: 1 })
// @ts-expect-error Who it is is not known yet.
takes<UploadDescription>({ length: 1, id: 'id' })
takes<CreationChoices>({ id: 'id', maxSize: 1 })
// @ts-expect-error An id is text.
takes<CreationChoices>({ id: 1 })
takes<FinishAnswer>({ status: 201, headers: {}, body: '' })
// @ts-expect-error A status is a number.
takes<FinishAnswer>({ status: '201' })
takes<FinishDetails>({ idempotencyKey: 'key', signal: undefined })
// @ts-expect-error There is a key.
takes<FinishDetails>({ signal })

takes<UploadStore>(store)
// @ts-expect-error A store can do more than that.
takes<UploadStore>({ find: async () => undefined })
takes<Locker>(new KeyedLock())
takes<Locker>({} as LockFiles)
// @ts-expect-error A locker can be asked without waiting, too.
takes<Locker>({ acquire: async () => ({ release() {} }) })
takes<Lock>({ release() {} })
// @ts-expect-error A lock is released.
takes<Lock>({})
takes<LockOptions>({ signal })
// @ts-expect-error Time is in milliseconds.
takes<LockOptions>({ timeoutMs: '1 s' })
takes<AppendOptions>({ signal })
takes<VerifiedAppendOptions>({ signal, verify: () => true })
takes<FileStoreVerifiedAppendOptions>({ verify: async () => false })
// @ts-expect-error It is a signal.
takes<AppendOptions>({ signal: true })
takes<number>(known(upload.offset))
// @ts-expect-error An upload has more than that.
takes<Upload>({ id: 'id' })
takes<NewUpload>({ id: 'id', length: 1 })
// @ts-expect-error An upload has an id.
takes<NewUpload>({ length: 1 })
takes<UploadState>(known(upload.state))
// @ts-expect-error There is no such state.
takes<UploadState>('done')
takes<Completion | undefined>(known(upload.completion))
// @ts-expect-error Nothing else makes it complete.
takes<Completion>('never')
takes<UploadDigest | undefined>(known(upload.digest))
// @ts-expect-error A digest has an algorithm.
takes<UploadDigest>({})
takes<Outcome | undefined>(known(upload.outcome))
// @ts-expect-error A body is text.
takes<Outcome>({ headers: {}, body: 1 })
takes<ExpirationPolicy>({ afterMs: 1 })
// @ts-expect-error Time is in milliseconds.
takes<ExpirationPolicy>({ afterMs: '1 s' })
takes<CorsOptions>({ origins: '*' })
// @ts-expect-error One origin is a list of one.
takes<CorsOptions>({ origins: 'https://example.org' })
takes<readonly string[]>(known(INLINE_MEDIA_TYPES))
// @ts-expect-error They are text.
takes<readonly number[]>(INLINE_MEDIA_TYPES)
takes<UploadErrorCode>(new UploadError('BUSY').code)
// @ts-expect-error It has no such reason.
takes<UploadErrorCode>('SLOW')
takes<InterruptReason>('ABORTED')
// @ts-expect-error A request is not interrupted by it.
takes<InterruptReason>('SLOW')
// @ts-expect-error It has no such reason.
new UploadError('SLOW')
takes<InteropVersion>(8)
// @ts-expect-error A version is a number.
takes<InteropVersion>('8')

const options: HandlerOptions = { store, ...hooks, signal: group.signal, download: { inline: ['image/png'] } }
// @ts-expect-error Uploads are kept somewhere.
takes<HandlerOptions>({})
takes<TusOptions>({ maxMetadataSize: 1 })
// @ts-expect-error Bytes are counted.
takes<TusOptions>({ maxMetadataSize: '1 KB' })
takes<TusHandlerOptions>({ ...options, maxMetadataSize: 1 })
// @ts-expect-error Uploads are kept somewhere.
takes<TusHandlerOptions>({ maxMetadataSize: 1 })
takes<RufhOptions>({ interopVersions: [3, 6, 8, 9, 10] })
// @ts-expect-error Versions are numbers.
takes<RufhOptions>({ interopVersions: ['9'] })
takes<RufhHandlerOptions>({ ...options, minSize: 1 })
// @ts-expect-error Uploads are kept somewhere.
takes<RufhHandlerOptions>({ minSize: 1 })
takes<UploadHandlerOptions>({ ...options, minSize: 1, maxMetadataSize: 1 })
// @ts-expect-error There is no such option.
takes<UploadHandlerOptions>({ ...options, maxSizes: 1 })
const handlers: readonly UploadHandler[] = [tusHandler(options), rufhHandler(options), uploadHandler(options)]
for (const handler of handlers) {
  createServer(handler).on('checkContinue', handler.checkContinue)
  takes<Promise<SweepReport>>(known(handler.sweep()))
  // @ts-expect-error It has a report.
  takes<Promise<string>>(handler.sweep())
}
// @ts-expect-error Uploads are kept somewhere.
tusHandler()
// @ts-expect-error Uploads are kept somewhere.
rufhHandler()
// @ts-expect-error Uploads are kept somewhere.
uploadHandler()
// @ts-expect-error A handler answers requests.
takes<UploadHandler>(() => {})
takes<object>(known(tus({})))
// @ts-expect-error It has options.
tus()
takes<object>(known(rufh({})))
// @ts-expect-error It has options.
rufh()
