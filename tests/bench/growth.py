def growth():
    return ""
