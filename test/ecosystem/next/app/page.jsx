'use client';
import { useEffect } from 'react';
import { report } from '../main.mjs';

export default function Page() {
  useEffect(() => {
    globalThis.result = report();
  }, []);
  return <p>dpm-solver</p>;
}
