// The newest clients, which need Node 22: called by openai.test.ts with the server's address.
import OpenAI from 'openai7';
import { createOpenAI } from 'ai-sdk-openai4';
import { createOpenAICompatible } from 'ai-sdk-openai-compatible3';
import { generateImage } from 'ai7';

const baseURL = `${process.argv[2]}v1`;
const openai = new OpenAI({ baseURL, apiKey: 'none' });
const { data } = await openai.images.generate({ model: 'gpt-image-1', prompt: 'red', n: 2 });
const events = [];
for await (const event of await openai.images.generate({ prompt: 'red', stream: true, partial_images: 2 })) {
  events.push(event.type);
}
const ai = createOpenAI({ baseURL, apiKey: 'none' });
const { images } = await generateImage({ model: ai.image('gpt-image-1'), prompt: 'red', n: 2 });
const compatible = createOpenAICompatible({ name: 'own', baseURL });
const other = await generateImage({
  model: compatible.imageModel('constant'),
  prompt: 'red',
  providerOptions: { own: { seed: 3, steps: 2 } },
});
console.log(JSON.stringify({ pictures: data.length, events, images: images.length, png: other.image.base64 }));
