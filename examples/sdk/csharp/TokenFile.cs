using System;
using System.IO;
using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Threading;
using System.Threading.Tasks;

/// <summary>
/// Adds the token that apicred stores in a mounted Secret to each request. The file is read for each request, so a renewed token
/// is used without a restart. Use it as the handler of an HttpClient.
/// </summary>
public sealed class TokenFileHandler : DelegatingHandler
{
    private readonly string path;

    public TokenFileHandler(string path, HttpMessageHandler inner) : base(inner)
    {
        this.path = path;
    }

    /// <summary>The token. The file "token" contains it and nothing else.</summary>
    public string Token()
    {
        return File.ReadAllText(path);
    }

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancel)
    {
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", Token());
        HttpResponseMessage response = await base.SendAsync(request, cancel);
        // A body is sent once. If the API refuses the token, the file may be newer: read it again and retry once.
        if (response.StatusCode != HttpStatusCode.Unauthorized || request.Content != null)
        {
            return response;
        }
        response.Dispose();
        HttpRequestMessage again = new HttpRequestMessage(request.Method, request.RequestUri);
        foreach (var header in request.Headers)
        {
            again.Headers.TryAddWithoutValidation(header.Key, header.Value);
        }
        again.Headers.Authorization = new AuthenticationHeaderValue("Bearer", Token());
        return await base.SendAsync(again, cancel);
    }
}

public static class Program
{
    public static void Main(string[] urls)
    {
        Run(urls).GetAwaiter().GetResult();
    }

    private static async Task Run(string[] urls)
    {
        string path = Environment.GetEnvironmentVariable("TOKEN_FILE") ?? "/var/run/token/token";
        using (HttpClient client = new HttpClient(new TokenFileHandler(path, new HttpClientHandler())))
        {
            client.Timeout = TimeSpan.FromSeconds(30);
            foreach (string url in urls)
            {
                using (HttpResponseMessage response = await client.GetAsync(url))
                {
                    Console.WriteLine((int)response.StatusCode);
                }
            }
        }
    }
}
