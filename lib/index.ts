// SPDX-License-Identifier: MIT

export * from './delayed-signal.ts'
export * from './early-response.ts'
export * from './file-store/file-store.ts'
export * from './happy-reader.ts'
export * from './interim-response.ts'
export * from './keyed-lock.ts'
export * from './lock-files/lock-files.ts'
export * from './request-signal.ts'
export * from './shutdown-group.ts'
export { tusHandler, type TusHandlerOptions, type TusOptions } from './tus/handler.ts'
export { rufhHandler, type RufhHandlerOptions, type RufhOptions } from './rufh/handler.ts'
export type { InteropVersion } from './rufh/interop.ts'
export { uploadHandler, type UploadHandlerOptions } from './upload-handler.ts'
export type { UploadHandler } from './http/handler.ts'
export type { HandlerOptions } from './http/options.ts'
export type { UploadResponse } from './http/exchange.ts'
export type { CorsOptions } from './http/cors.ts'
export { INLINE_MEDIA_TYPES } from './download/media-type.ts'
export { UploadError, type UploadErrorCode } from './upload/errors.ts'
export type { InterruptReason } from './upload/events.ts'
export type { ExpirationPolicy } from './upload/lifecycle.ts'
export type {
  CreationChoices, FinishAnswer, FinishDetails, Operation, UploadDescription, UploadHooks, UploadRequest,
} from './upload/hooks.ts'
export type { SweepReport } from './upload/sweep.ts'
export type {
  AppendOptions, Completion, Lock, Locker, LockOptions, NewUpload, Outcome, Upload, UploadDigest, UploadState,
  UploadStore, VerifiedAppendOptions,
} from './upload/types.ts'
