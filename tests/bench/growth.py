def growth(): return ""
