SET rowcast.notify = 'off'
