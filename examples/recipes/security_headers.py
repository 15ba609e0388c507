# Headers that browsers obey, in every answer of the Hub and of users' servers. It needs https.
c.TraefikProxy.route_middlewares = {
    "security": {
        "headers": {
            "stsSeconds": 31536000,  # for a year, browsers use https only
            "contentTypeNosniff": True,
            "referrerPolicy": "same-origin",
            "customResponseHeaders": {"Server": ""},  # no version
        },
    },
}
