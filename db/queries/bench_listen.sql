LISTEN bench
