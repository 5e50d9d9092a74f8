// One call of the Vercel AI SDK's xAI video model, as a user of it would write it.
// Reads {baseURL, apiKey, model, abortAfterMs, call} from its first argument, prints one JSON object.
import { createHash } from 'node:crypto';
import { createXai } from '@ai-sdk/xai';
import * as ai from 'ai';

const { baseURL, apiKey, model, abortAfterMs, call } = JSON.parse(process.argv[2]);
const xai = createXai({ baseURL, apiKey });
const generateVideo = ai.experimental_generateVideo ?? ai.generateVideo;

// The SDK's own download refuses loopback addresses; `download` is its documented way out.
async function download({ url, abortSignal }) {
  const response = await fetch(url, { signal: abortSignal });
  if (!response.ok) {
    throw new Error(`download answered ${response.status}`);
  }
  const data = new Uint8Array(await response.arrayBuffer());
  return { data, mediaType: response.headers.get('content-type') ?? undefined };
}

function describe(error) {
  const root = error.lastError ?? error;
  return {
    name: root.name,
    message: root.message,
    statusCode: root.statusCode ?? null,
    isRetryable: root.isRetryable ?? null,
    attempts: error.errors?.length ?? 1,
  };
}

globalThis.AI_SDK_LOG_WARNINGS = false;

try {
  const result = await generateVideo({
    model: xai.video(model ?? 'grok-imagine-video'),
    maxRetries: 0,
    download,
    abortSignal: abortAfterMs ? AbortSignal.timeout(abortAfterMs) : undefined,
    ...call,
  });
  const bytes = result.video.uint8Array;
  console.log(
    JSON.stringify({
      ok: true,
      size: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      base64: Buffer.from(bytes).toString('base64'),
      mediaType: result.video.mediaType,
      metadata: result.providerMetadata.xai,
      warnings: result.warnings,
    }),
  );
} catch (error) {
  console.log(JSON.stringify({ ok: false, error: describe(error) }));
}
