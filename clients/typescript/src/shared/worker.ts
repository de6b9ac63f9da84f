// The worker that all pages of a browser share, where the client is many files.
import { serve } from './serve.js';

serve();
