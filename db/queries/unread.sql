SELECT {unread} AS unread
