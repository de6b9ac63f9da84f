const answer = await fetch('assistant', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
localStorage.link = answer.headers.get('Operation-Location');   // the way back, in the head of the answer
// after a reload, a cut, tomorrow: the same answer from its first byte on, then what comes
const again = await fetch(localStorage.link.replace('?', '/result?live&'), { headers: { Prefer: 'wait=55' } });
