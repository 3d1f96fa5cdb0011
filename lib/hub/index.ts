// Models by their name on a Hugging Face hub.
export { modelName } from './cache.js';
export {
  findModel,
  HUB_OPTIONS,
  type HubOptions,
  type HubProgress,
  isHubId,
  type PlannedFile,
  type PullOptions,
  plan,
  pull,
} from './pull.js';
